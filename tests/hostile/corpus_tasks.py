"""Hostile tasks and orders: what can lie on a pool's task topics, its journal and `control`, and should not."""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad, Ends, RawHeaders, js

LETTER, PASSED_OVER = Ends.LETTER, Ends.PASSED_OVER
MEGABYTE = 900_000
KEEP: Any = object()
JOB = "h-task"


def task(
    title: str, reason: str = "", /, *, raw: Any = KEEP, key: bytes | None = b"h-task/say/0", headers: RawHeaders = (),
    **fields: Any,
) -> Bad:  # fmt: skip
    """Return a task that is good but for what is given."""
    call = {"messages": [{"role": "user", "content": "hello"}]}
    plain = {
        "task_id": f"{JOB}/say/0", "job_id": JOB, "step": "say", "attempt": 1, "pool": "noop", "lane": "batch",
        "reply_partition": 0, "timeout_ms": 5_000, "call": call, **fields,
    }  # fmt: skip
    value = js({name: given for name, given in plain.items() if given is not KEEP}) if raw is KEEP else raw
    return Bad(title, "tasks", LETTER, key, value, headers, reason, JOB)


def said(job: bytes, name: bytes, attempt: bytes, reply: bytes) -> RawHeaders:
    return [(b"x-job-id", job), (b"x-task-id", name), (b"x-attempt", attempt), (b"x-reply-partition", reply)]


TASKS = [
    task("no value", "no_value", raw=None),
    task("empty", "invalid_json", raw=b""),
    task("not json", "invalid_json", raw=b"{not json"),
    task("a list", "invalid_shape", raw=b"[]"),
    task("invalid utf-8", "invalid_json", raw=b'{"task_id":"\xff"}'),
    task("a hundred thousand brackets", "invalid_json", raw=b"[" * 100_000),
    task("schema of another message", "wrong_schema", headers=[(b"x-schema", b"result")]),
    task("schema version of the future", "unknown_version", headers=[(b"x-schema-version", b"2")]),
    task("schema version is a superscript", "wrong_schema", headers=[(b"x-schema-version", "²".encode())]),
    task("schema version of five thousand digits", "wrong_schema", headers=[(b"x-schema-version", b"9" * 5_000)]),
    task("a header name that is not utf-8", "unreadable_headers", headers=[(b"\xff", b"x")]),
    task("key of a megabyte and no json", "invalid_json", raw=b"{", key=b"k" * MEGABYTE),
    task("value of a megabyte that is no json", "invalid_json", raw=b"{" * 1_000_000),
    task("headers of a megabyte and no json", "invalid_json", raw=b"{", headers=[(b"h", b"x" * 15_000)] * 60),
    task("fifty thousand headers and no json", "invalid_json", raw=b"{", headers=[(b"h", b"")] * 50_000),
    task("attempt header of five thousand digits", "invalid_json", raw=b"{",
         headers=said(b"h-task", b"h-task/say/0", b"9" * 5_000, b"0")),
    task("reply header of five thousand digits", "invalid_json", raw=b"{",
         headers=said(b"h-task", b"h-task/say/0", b"1", b"9" * 5_000)),
    task("reply header is a superscript", "invalid_json", raw=b"{",
         headers=said(b"h-task", b"h-task/say/0", b"1", "²".encode())),
    task("reply header out of range", "invalid_json", raw=b"{", headers=said(b"h-task", b"h-task/say/0", b"1", b"99")),
    task("headers of two jobs and no json", "invalid_json", raw=b"{", headers=said(b"h-a", b"h-b/say/0", b"1", b"0")),
    task("job header of a megabyte and no json", "invalid_json", raw=b"{",
         headers=said(b"j" * MEGABYTE, b"h-task/say/0", b"1", b"0")),
    task("redrives of five thousand digits", "invalid_json", raw=b"{", headers=[(b"x-redrives", b"9" * 5_000)]),
    task("embedding of nothing", "out_of_range", call=KEEP, embed={"texts": []}),
    task("embedding of a text of a million characters", "out_of_range", call=KEEP, embed={"texts": ["x" * 800_000]}),
    task("embedding of three thousand texts", "out_of_range", call=KEEP, embed={"texts": ["x"] * 3_000}),
    task("a route twice", "out_of_range", call=KEEP,
         embed={"texts": ["x"], "examples": [{"route": "a", "texts": ["x"]}] * 2}),
    task("a route without an example", "out_of_range", call=KEEP,
         embed={"texts": ["x"], "examples": [{"route": "a", "texts": []}]}),
    task("twenty thousand examples", "out_of_range", call=KEEP,
         embed={"texts": ["x"], "examples": [{"route": "a", "texts": ["x"] * 20_000}]}),
    task("examples that lie elsewhere", "invalid_reference", call=KEEP,
         embed={"texts": ["x"], "examples_ref": {"key": "../secrets", "size_bytes": 1, "sha256": "a" * 64}}),
    task("examples inline and elsewhere", "contradiction", call=KEEP,
         embed={"texts": ["x"], "examples": [{"route": "a", "texts": ["x"]}],
                "examples_ref": {"key": f"sha256/{'a' * 64}", "size_bytes": 1, "sha256": "a" * 64}}),
    task("task of another job", "task_of_another_job", task_id="h-other/say/0"),
    task("task id of a megabyte", "invalid_task_id", task_id="t" * MEGABYTE),
    task("task id with a superscript", "invalid_task_id", task_id=f"{JOB}/say/²"),
    task("job id of a megabyte", "invalid_job_id", job_id="j" * MEGABYTE),
    task("attempt 0", "out_of_range", attempt=0),
    task("attempt of thirty digits", "out_of_range", attempt=10**30),
    task("pool of another worker", "wrong_pool", pool="large"),
    task("pool of a megabyte", "wrong_pool", pool="p" * MEGABYTE),
    task("lane that there is not", "invalid_shape", lane="fast"),
    task("reply partition out of range", "wrong_partition", reply_partition=99),
    task("reply partition below zero", "wrong_partition", reply_partition=-1),
    task("reply partition of thirty digits", "wrong_partition", reply_partition=10**30),
    task("timeout 0", "out_of_range", timeout_ms=0),
    task("timeout of four hundred digits", "out_of_range", timeout_ms=10**400),
    task("dispatched at the end of all time", "out_of_range", dispatched_at_ms=10**400),
    task("may begin at the end of all time", "out_of_range", not_after_ms=10**400),
    task("header of another job", "headers_contradict", headers=[(b"x-job-id", b"h-other")]),
    task("header of another task", "headers_contradict", headers=[(b"x-task-id", b"h-task/say/1")]),
    task("header of another attempt", "headers_contradict", headers=[(b"x-attempt", b"7")]),
    task("header of another reply partition", "headers_contradict", headers=[(b"x-reply-partition", b"1")]),
    task("tenant of a megabyte", "out_of_range", tenant="t" * MEGABYTE),
    task("workflow of a megabyte", "out_of_range", workflow="w" * MEGABYTE),
    task("step of a megabyte", "out_of_range", step="s" * MEGABYTE),
    task("hash of a template of five megabytes", "out_of_range", template_hash="0" * 5_000_000),
    task("a role that there is not", "invalid_shape", call={"messages": [{"role": "wizard", "content": "x"}]}),
    task("a call that is a text", "invalid_shape", call="hello"),
    task("a tool that is a text", "invalid_shape", call=KEEP, tool="send_email"),
    task("a tool without arguments", "invalid_shape", call=KEEP, tool={"tool": "send_email"}),
    task("a tool whose arguments are a list", "invalid_shape", call=KEEP, tool={"tool": "a", "arguments": [1]}),
    task("a tool whose arguments nest without end", "invalid_json",
         raw=b'{"tool":{"tool":"a","arguments":' + b'{"a":' * 100_000),
    task("a reference that goes up", "invalid_reference", call=KEEP, call_ref={
        "key": "../../etc/passwd", "size_bytes": 1, "sha256": "0" * 64,
    }),
]  # fmt: skip


def order(title: str, reason: str, key: bytes | None, value: bytes | None, headers: RawHeaders = ()) -> Bad:
    return Bad(title, "control", LETTER, key, value, headers, reason)


CANCEL = js({"subject": "job/h-c", "action": "cancel", "at_ms": 1})
ORDERS = [
    order("an order that is not json", "invalid_json", b"job/h-c1", b"{"),
    order("an order that is not utf-8", "invalid_json", b"job/h-c2", b"\xff"),
    order("an order that nests without end", "invalid_json", b"job/h-c3", b"[" * 100_000),
    order("an action that there is not", "invalid_shape", b"job/h-c4",
          js({"subject": "job/h-c4", "action": "explode", "at_ms": 1})),
    order("a subject that there is not", "invalid_subject", b"planet/earth", CANCEL),
    order("a subject that is not utf-8", "invalid_subject", b"job/\xff", CANCEL),
    order("a subject of a megabyte", "invalid_subject", b"job/" + b"x" * MEGABYTE, CANCEL),
    order("an empty subject", "invalid_subject", b"", CANCEL),
    order("a job id that is none", "invalid_subject", b"job/a b", CANCEL),
    order("a key that its value contradicts", "subject_mismatch", b"job/h-c5", CANCEL),
    order("an order of the future", "unknown_version", b"job/h-c", CANCEL, [(b"x-schema-version", b"2")]),
    order("an order with a header name that is not utf-8", "unreadable_headers", b"job/h-c", CANCEL, [(b"\xff", b"x")]),
]  # fmt: skip

NOTED = {"task_id": "h-task/say/0", "job_id": "h-task", "attempt": 1}


def note(
    title: str, reason: str, /, *, raw: Any = KEEP, headers: RawHeaders = (), result: Any = KEEP, **fields: Any
) -> Bad:
    """Return a journal's record of an end that is good but for what is given."""
    ended = {**NOTED, "output": "forged"} if result is KEEP else result
    plain = {"task_id": "h-task/say/0", "attempt": 1, "phase": "ended", "at_ms": 1, "worker": "w", "lane": "batch",
             "offset": 7, "result": ended, **fields}  # fmt: skip
    return Bad(title, "attempts", PASSED_OVER, b"h-task/say/0", js(plain) if raw is KEEP else raw, headers, reason)


ATTEMPTS = [
    note("a journal record that is not json", "invalid_json", raw=b"{"),
    note("a journal record without a value", "no_value", raw=None),
    note("a journal record of another shape", "invalid_shape", raw=b'{"task_id": 7, "phase": "asleep"}'),
    note("a journal record that nests without end", "invalid_json", raw=b'{"result":' + b"[" * 100_000),
    note("a journal record of the future", "unknown_version", headers=[(b"x-schema-version", b"2")]),
    note("a journal record with a header name that is not utf-8", "unreadable_headers", headers=[(b"\xff", b"x")]),
    note("a journal record with an answer of another task", "contradiction", result={**NOTED, "task_id": "h-x/say/0",
                                                                                    "job_id": "h-x"}),
    note("a journal record with an answer of another attempt", "contradiction", result={**NOTED, "attempt": 2}),
    note("a journal record with an answer of two jobs", "task_of_another_job", result={**NOTED, "job_id": "h-x"}),
    note("a journal record with money above all money", "out_of_range", result={**NOTED, "cost_microusd": 10**15}),
    note("a journal record with a reference that goes up", "invalid_reference", result={**NOTED, "output_ref": {
        "key": "../../etc/passwd", "size_bytes": 1, "sha256": "0" * 64,
    }}),
]  # fmt: skip

"""Hostile results: what a worker, or somebody who poses as one, can write to `results` and should not.

Two jobs run when they are read: `h-victim` waits for its one task, and must still succeed afterwards; of `h-nobody`
nothing is known.
"""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad, Ends, RawHeaders, js

VICTIM = "h-victim"
TASK = f"{VICTIM}/say/0"
LETTER, IGNORED = Ends.LETTER, Ends.IGNORED
MEGABYTE = 900_000
KEEP: Any = object()


def result(
    title: str, reason: str = "", /, *, raw: Any = KEEP, key: bytes | None = VICTIM.encode(), headers: RawHeaders = (),
    ends: Ends = LETTER, **fields: Any,
) -> Bad:  # fmt: skip
    """Return a result of the victim's task that is good but for what is given."""
    plain = {"task_id": TASK, "job_id": VICTIM, "attempt": 1, "output": "forged", **fields}
    value = js({name: given for name, given in plain.items() if given is not KEEP}) if raw is KEEP else raw
    return Bad(title, "results", ends, key, value, headers, reason, VICTIM)


SHAPES = [
    result("no value", "no_value", raw=None),
    result("empty", "invalid_json", raw=b""),
    result("not json", "invalid_json", raw=b"{not json"),
    result("a list", "invalid_shape", raw=b"[]"),
    result("null", "invalid_shape", raw=b"null"),
    result("invalid utf-8", "invalid_json", raw=b'{"task_id":"\xff"}'),
    result("a lone surrogate", "invalid_json", raw=b'{"task_id":"\\udfff"}'),
    result("a hundred thousand brackets", "invalid_json", raw=b"[" * 100_000),
    result("an output that nests without end", "invalid_json", raw=b'{"output":' + b"[" * 100_000),
    result("empty object", "invalid_shape", raw=b"{}"),
    result("a task in place of a result", "wrong_schema", headers=[(b"x-schema", b"task")]),
    result("schema version of the future", "unknown_version", headers=[(b"x-schema-version", b"2")]),
    result("schema version of five thousand digits", "wrong_schema", headers=[(b"x-schema-version", b"9" * 5_000)]),
    result("a header name that is not utf-8", "unreadable_headers", headers=[(b"\xff", b"x")]),
    result("a key of a megabyte and no json", "invalid_json", raw=b"{", key=b"k" * MEGABYTE),
    result("a value of a megabyte that is no json", "invalid_json", raw=b"{" * 1_000_000),
    result("headers of a megabyte and no json", "invalid_json", raw=b"{", headers=[(b"h", b"x" * 990_000)]),
    result("fifty thousand headers and no json", "invalid_json", raw=b"{", headers=[(b"h", b"")] * 50_000),
    result("redrives of five thousand digits", "invalid_json", raw=b"{", headers=[(b"x-redrives", b"9" * 5_000)]),
    result("job id in a header of a megabyte", "invalid_json", raw=b"{", headers=[(b"x-job-id", b"j" * MEGABYTE)]),
]

IDS = [
    result("task id is a number", "invalid_shape", task_id=7),
    result("task id is empty", "invalid_task_id", task_id=""),
    result("task id of a megabyte", "invalid_task_id", task_id="t" * MEGABYTE),
    result("task id with a superscript", "invalid_task_id", task_id=f"{VICTIM}/say/²"),
    result("task id with arabic digits", "invalid_task_id", task_id=f"{VICTIM}/say/٠"),
    result("task id with a zero in front", "invalid_task_id", task_id=f"{VICTIM}/say/00"),
    result("task id with five thousand digits", "invalid_task_id", task_id=f"{VICTIM}/say/{'9' * 5_000}"),
    result("task id of four parts", "invalid_task_id", task_id=f"{VICTIM}/say/0/0"),
    result("task id goes up", "invalid_task_id", task_id=f"{VICTIM}/../0"),
    result("task of another job", "task_of_another_job", task_id="h-other/say/0"),
    result("job of another task", "task_of_another_job", job_id="h-other"),
    result("a job that never was", "unknown_task", task_id="h-nobody/say/0", job_id="h-nobody", key=b"h-nobody"),
    result("a step that never was", "unknown_task", task_id=f"{VICTIM}/other/0"),
    result("an index that never was", "unknown_task", task_id=f"{VICTIM}/say/1"),
    result("job id with a slash", "invalid_job_id", job_id="a/b"),
    result("job id of a megabyte", "invalid_job_id", job_id="j" * MEGABYTE),
    result("attempt that was never dispatched", "unknown_attempt", attempt=2),
    result("attempt 0", "out_of_range", attempt=0),
    result("attempt below zero", "invalid_shape", attempt=-1),
    result("attempt of thirty digits", "invalid_shape", attempt=10**30),
    result("attempt is a text", "invalid_shape", attempt="one"),
    result("header of another job", "headers_contradict", headers=[(b"x-job-id", b"h-other")]),
    result("header of another task", "headers_contradict", headers=[(b"x-task-id", f"{VICTIM}/say/1".encode())]),
    result("header of another attempt", "headers_contradict", headers=[(b"x-attempt", b"2")]),
    result("header of an attempt that is no number", "headers_contradict", headers=[(b"x-attempt", "²".encode())]),
]

NUMBERS = [
    result("tokens below zero", "invalid_shape", usage={"input_tokens": -1}),
    result("tokens of thirty digits", "invalid_shape", usage={"output_tokens": 10**30}),
    result("tokens that no call has", "out_of_range", usage={"output_tokens": 10**15}),
    result("tokens of five thousand digits", "invalid_json", raw=b'{"usage":{"input_tokens":' + b"9" * 5_000 + b"}}"),
    result("tokens are nan", "invalid_shape", usage={"input_tokens": float("nan")}),
    result("money below zero", "invalid_shape", cost_microusd=-(10**6)),
    result("money above all money", "out_of_range", cost_microusd=10**15),
    result("confidence above all confidence", "out_of_range", confidence=1.01),
    result("confidence is nan", "out_of_range", confidence=float("nan")),
    result("confidence is a text", "invalid_shape", confidence="very"),
    result("time below zero", "invalid_shape", call_ms=-1),
    result("an error kind that there is not", "invalid_shape", failure={"kind": "bad_mood", "message": "x"}),
    result("a failure without a message", "invalid_shape", failure={"kind": "timeout"}),
    result("a failure that is a text", "invalid_shape", failure="timeout"),
    result("a reference that goes up", "invalid_reference", output_ref={
        "key": "../../etc/passwd", "size_bytes": 1, "sha256": "0" * 64,
    }),
    result("a reference to another host", "invalid_reference", output_ref={
        "key": "s3://other/x", "size_bytes": 1, "sha256": "0" * 64,
    }),
    result("a reference whose checksum is none", "invalid_reference", output_ref={
        "key": "sha256/x", "size_bytes": 1, "sha256": "x",
    }),
    result("a reference of negative size", "out_of_range", output_ref={
        "key": f"sha256/{'a' * 64}", "size_bytes": -1, "sha256": "a" * 64,
    }),
]  # fmt: skip

RESULTS = [*SHAPES, *IDS, *NUMBERS]

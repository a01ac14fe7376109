"""Hostile records of `state`, `outcomes` and `events`: broken by a bug, a disk, or somebody with too many rights."""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad, Ends, js

LETTER, IGNORED, PASSED_OVER = Ends.LETTER, Ends.IGNORED, Ends.PASSED_OVER


def state(title: str, key: bytes, value: bytes, *, job: str = "", ends: Ends = LETTER) -> Bad:
    """Return a record of state; ``job`` is the one that it ends, where it ends one."""
    return Bad(title, "state", ends, key, value, reason="broken_state" if ends is LETTER else "", job_id=job)


def header(**fields: Any) -> bytes:
    """Return a job's header that is good but for what is given."""
    plain = {
        "job_id": "h-s1", "workflow": "one@1", "workflow_sha256": "0" * 64, "content_hash": "h", "tenant": "default",
        "lane": "batch", "priority": 0, "sensitivity": "internal", "submitted_at_ms": 1, "accepted_at_ms": 1,
        "tokens_rule": "chars4", "deadline_ms": None, "labels": {}, "input_parts": 1, "input_ref": None,
        "phase": "running", "steps": {}, "spent": {}, "trace": {}, "budget": [None, None], "reserved": [0, 0, False],
        "close": [0, 0],
    }  # fmt: skip
    return js({**plain, **fields})


STATE = [
    state("a header that is not json", b"job/h-s1", b"{not json", job="h-s1"),
    state("a header that is not utf-8", b"job/h-s2", b"\xff\xfe", job="h-s2"),
    state("a header of another job", b"job/h-s3", header(), job="h-s3"),
    state("a header without its fields", b"job/h-s4", b"{}", job="h-s4"),
    state("a header whose deadline is a text", b"job/h-s5", header(job_id="h-s5", deadline_ms="soon"), job="h-s5"),
    state("a header whose deadline has a hundred digits", b"job/h-s6", header(job_id="h-s6", deadline_ms=10**100),
          job="h-s6"),
    state("a header in a phase that there is not", b"job/h-s7", header(job_id="h-s7", phase="asleep"), job="h-s7"),
    state("a header with ten billion tasks", b"job/h-s8", header(job_id="h-s8", steps={
        "a": {"status": "running", "next": 10**10, "failed": 1},
    }), job="h-s8"),
    state("a header that nests without end", b"job/h-s9", b"[" * 100_000, job="h-s9"),
    state("a header without its workflow", b"job/h-s10", header(job_id="h-s10"), job="h-s10", ends=IGNORED),
    state("a task that is not json", b"task/h-t1/say/0", b"{"),
    state("a task whose due time is a text", b"task/h-t2/say/0", js({"s": "retrying", "a": 1, "t": 1, "due": "soon"})),
    state("a task whose due time has a hundred digits", b"task/h-t3/say/0",
          js({"s": "retrying", "a": 1, "t": 1, "due": 10**100})),
    state("a task with five thousand digits", b"task/h-t4/say/0", b'{"s":"live","a":' + b"9" * 5_000 + b"}"),
    state("a task without an index", b"task/h-t5/say", js({"s": "live", "a": 1, "t": 1})),
    state("a task with a superscript for an index", "task/h-t6/say/²".encode(), js({"s": "live", "a": 1, "t": 1})),
    state("a task whose reference goes up", b"task/h-t7/say/0", js({
        "s": "done", "a": 1, "t": 1, "ref": {"key": "../../x", "size_bytes": 1, "sha256": "0" * 64},
    })),
    state("a task of a job that is not there", b"task/h-t8/say/0", js({"s": "retrying", "a": 1, "t": 1, "due": 1}),
          ends=IGNORED),
    state("an input that is not json", b"input/h-i1/0", b"{"),
    state("an input whose text is a number", b"input/h-i2/0", js({"text": 7})),
    state("an input with a lone surrogate", b"input/h-i3/0", b'{"text":"\\ud800"}'),
    state("a signal that is not json", b"signal/h-g1/gate", b"{"),
    state("a signal whose due time is a text", b"signal/h-g2/gate", js({
        "at": 1, "arrived": False, "due": "soon", "payload": None, "ref": None,
    })),
    state("a signal of no step", b"signal/h-g3", js({
        "at": 1, "arrived": True, "due": None, "payload": 1, "ref": None,
    })),
    state("a signal of a job that is not there", b"signal/h-g4/gate", js({
        "at": 1, "arrived": False, "due": 1, "payload": None, "ref": None,
    }), ends=IGNORED),
    state("a session that is not json", b"session/h-c1", b"{"),
    state("a session whose jobs are numbers", b"session/h-c2", js({"jobs": [1, 2]})),
    state("a session without jobs", b"session/h-c3", js({"jobs": []})),
    state("a kept route that is not json", b"routed/h-k1/w/s", b"{"),
    state("a kept route to a number", b"routed/h-k2/w/s", js({"to": 1, "due": 9})),
    state("a kept route that never ends", b"routed/h-k3/w/s", js({"to": "a", "due": None})),
    state("a kept route of no workflow", b"routed/h-k4/s", js({"to": "a", "due": 9})),
    state("a kept route of a workflow with a path", b"routed/h-k5/w/../s", js({"to": "a", "due": 9})),
    state("an input of a job that is not there", b"input/h-i4/0", js({"text": "{}"}), ends=IGNORED),
    state("a marker that is not json", b"marker/h-m1", b"{"),
    state("a marker without an outcome", b"marker/h-m2", js({"hash": "h", "status": "s", "at": 1, "due": 2})),
    state("a marker whose due time is a text", b"marker/h-m3", js(
        {"hash": "h", "status": "failed", "outcome": "{}", "at": 1, "due": "never", "cancelled": False}
    )),
    state("a workflow under another hash", b"workflow/" + b"0" * 64, js({"text": "{}"})),
    state("a workflow that is not json", b"workflow/" + b"1" * 64, b"{"),
    state("a key of a kind that there is not", b"galaxy/far", b"{}"),
    state("a key that is not utf-8", b"\xff\xfe/x", b"{}"),
    state("an empty key", b"", b"{}"),
    state("a key of ten thousand bytes", b"job/" + b"x" * 10_000, b"{}"),
    state("an owner that is not json", b"owner", b"{", ends=IGNORED),
    state("an owner with a path", b"owner/two", js({"id": "x"})),
    state("a cursor that is a text", b"cursor/jobs", js({"offset": "4"}), ends=IGNORED),
    state("a cursor of a topic that there is not", b"cursor/elsewhere", js({"offset": 4})),
    state("a value of a megabyte", b"job/h-s11", b"{" * 1_000_000, job="h-s11"),
]  # fmt: skip

READ = "h-read"
"""The job whose outcome is looked for among these."""
OUTCOMES = [
    Bad("an outcome that is not json", "outcomes", PASSED_OVER, READ.encode(), b"{", job_id=READ),
    Bad("an outcome without a value", "outcomes", PASSED_OVER, READ.encode(), None, job_id=READ),
    Bad("an outcome of another job", "outcomes", PASSED_OVER, READ.encode(), js(
        {"job_id": "h-other", "status": "succeeded"}), job_id=READ),
    Bad("an outcome of the future", "outcomes", PASSED_OVER, READ.encode(), b"{}", [(b"x-schema-version", b"2")],
        job_id=READ),
    Bad("an outcome with a header name that is not utf-8", "outcomes", PASSED_OVER, READ.encode(), b"{}",
        [(b"\xff", b"x")], job_id=READ),
    Bad("an outcome with a status that there is not", "outcomes", PASSED_OVER, READ.encode(), js(
        {"job_id": READ, "status": "superb"}), job_id=READ),
    Bad("an event that is not json", "events", PASSED_OVER, READ.encode(), b"{", job_id=READ),
    Bad("an event without a value", "events", PASSED_OVER, READ.encode(), None, job_id=READ),
    Bad("an event of another shape", "events", PASSED_OVER, READ.encode(), b"[]", job_id=READ),
]  # fmt: skip

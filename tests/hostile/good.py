"""Good messages of every kind, for fuzzers to spoil."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Any

from headrace.orchestrator.core.record_codec import encode_record
from headrace.schemas.codec import encode
from headrace.schemas.messages import Attempt, Lane, Result
from tests.hostile.bad import js
from tests.hostile.corpus_results import TASK, VICTIM
from tests.world import World

INLINE = {
    "name": "w", "version": 1, "output": "{{ all }}",
    "input": {"type": "object", "properties": {"items": {"type": "array", "maxItems": 50}}},
    "steps": {
        "cut": {"split": {"from": "{{ input.text }}", "by": "lines", "size": 2}},
        "notes": {"for_each": "{{ cut }}", "llm": {"pool": "noop", "prompt": "note {{ item }}", "max_output_tokens": 9},
                  "require": {"at_least": 1}, "retry": {"attempts": 2, "backoff_ms": 10}},
        "all": {"reduce": "{{ notes }}", "llm": {"pool": "noop", "prompt": "{% for x in items %}{{ x }}{% endfor %}"}},
    },
}  # fmt: skip
USAGE = {"input_tokens": 5, "cached_tokens": 1, "cache_write_tokens": 0, "output_tokens": 3, "reasoning_tokens": 1}
STORED = b'"stored"'
DIGEST = sha256(STORED).hexdigest()
REF = {"key": f"sha256/{DIGEST}", "size_bytes": len(STORED), "sha256": DIGEST}
"""A reference to an object that is there."""
INPUT = b'{"who":"you"}'
PART = b'{"a":1}\n"b"\n3\n'
FAN = {"name": "f", "version": 1, "steps": {"notes": {
    "for_each": "{{ input['items'] }}", "llm": {"pool": "noop", "prompt": "note {{ item }}"}}}}  # fmt: skip


def by_input(content: bytes) -> bytes:
    """Return a submission whose input is an object."""
    return js({"job_id": "h-4", "workflow": "one", "input_ref": _ref(content)})


def by_items(content: bytes) -> bytes:
    """Return a submission whose items are an object with a part of three."""
    return js({"job_id": "h-5", "workflow": FAN, "items": {"parts": [{**_ref(content), "items": 3}]}})


def _ref(content: bytes) -> dict[str, Any]:
    digest = sha256(content).hexdigest()
    return {"key": f"sha256/{digest}", "size_bytes": len(content), "sha256": digest}


SUBMISSIONS = (
    js({"job_id": "h-1", "workflow": "one", "input": {"who": "you"}}),
    js({"job_id": "h-2", "workflow": INLINE, "input": {"text": "a\nb\nc\nd", "items": [1, "2", None]}}),
    js({"type": "job", "job_id": "h-3", "workflow": "one@1", "input": {"who": "you"}, "tenant": "t",
        "lane": "interactive", "priority": 7, "deadline": "2999-01-01T00:00:00Z",
        "budget": {"microusd": 900, "tokens": 500}, "labels": {"a": "b"}, "sensitivity": "public"}),
    js({"type": "cancel", "job_id": VICTIM}),
    js({"type": "signal", "job_id": VICTIM, "name": "go", "payload": {"a": 1}}),
    js({"type": "redrive", "job_id": VICTIM, "name": TASK, "payload": {"pool": "noop", "messages": [
        {"role": "user", "content": "again"}]}}),
    by_input(INPUT),
    by_items(PART),
)  # fmt: skip
RESULTS = (
    js({"task_id": TASK, "job_id": VICTIM, "attempt": 1, "output": "true", "usage": USAGE, "cost_microusd": 4,
        "model": "m", "endpoint": "here", "pool": "noop", "worker": "w", "call_ms": 12, "finish_reason": "stop"}),
    js({"task_id": TASK, "job_id": VICTIM, "attempt": 1, "failure": {
        "kind": "rate_limited", "message": "slow down", "retry_after_ms": 50}, "unconfirmed": True, "cause": "kill"}),
    js({"task_id": TASK, "job_id": VICTIM, "attempt": 1, "output_ref": REF, "truncated": True, "journalled": True}),
)  # fmt: skip
TASKS = (
    js({"task_id": "h-task/say/0", "job_id": "h-task", "step": "say", "attempt": 1, "pool": "noop", "lane": "batch",
        "reply_partition": 0, "timeout_ms": 5_000, "tenant": "t", "workflow": "one@1", "template_hash": "ab",
        "not_after_ms": 32_503_680_000_000, "dispatched_at_ms": 1, "call": {
            "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hello"}],
            "max_output_tokens": 9, "temperature": 0.5, "seed": 1, "stop": ["x"],
            "output_schema": {"type": "string"}}}),
    js({"task_id": "h-task/say/0", "job_id": "h-task", "step": "say", "attempt": 2, "kind": "repair", "pool": "noop",
        "lane": "interactive", "reply_partition": 2, "timeout_ms": 50, "call_ref": REF}),
)  # fmt: skip
CONTROL = (js({"subject": "job/h-c", "action": "cancel", "at_ms": 1, "reason": "failed"}),)
NOTES = (
    encode(Attempt(task_id="h-task/say/0", attempt=1, phase="started", at_ms=1, worker="w", lane=Lane.BATCH, offset=7,
                   until_ms=9, job_id="h-task")),
    encode(Attempt(task_id="h-task/say/0", attempt=1, phase="ended", at_ms=1, worker="w", lane=Lane.BATCH, offset=7,
                   result=Result(task_id="h-task/say/0", job_id="h-task", attempt=1, output={"a": [1]}))),
)  # fmt: skip
OUTCOMES = (
    js({"job_id": "h-1", "status": "failed", "reason": "internal", "message": "m", "output": {"a": 1},
        "workflow": "w@1", "submitted_at_ms": 1, "finished_at_ms": 2, "labels": {"a": "b"},
        "receipt": {"tasks": 1, "attempts": 2,
        "usage": USAGE, "pools": {"noop": {"tasks": 1, "usage": USAGE, "models": ["m"]}},
        "steps": {"a": {"tasks": 1, "failed": 1}}}}),
)  # fmt: skip
EVENTS = (js({"type": "job.accepted", "job_id": "h-1", "at_ms": 1}),)
LETTERS = (
    js({"reason": "invalid_json", "message": "m", "errors": ["a"], "origin": {"topic": "t.jobs", "partition": 0,
        "offset": 4}, "at_ms": 1, "by": "o-1", "job_id": "h-1", "key_base64": "aA==", "key_bytes": 1,
        "value_base64": "eyJ3b3JrZmxvdyI6Im9uZSJ9", "value_bytes": 18, "headers": [["a", "aA=="]], "redrives": 1}),
    js({"reason": "exhausted", "message": "m", "origin": {"topic": "t.results", "partition": 1, "offset": 4},
        "at_ms": 1, "by": "o-1", "job_id": "h-task", "task_id": "h-task/say/0", "pool": "noop", "value_base64": "e30=",
        "value_bytes": 2, "attempts": [{"attempt": 1, "kind": "timeout", "message": "m", "at_ms": 1}]}),
    js({"reason": "wrong_pool", "message": "m", "origin": {"topic": "t.tasks.noop.batch", "partition": 1, "offset": 4},
        "at_ms": 1, "by": "w", "value_base64": "eyJwb29sIjoibm9vcCJ9", "value_bytes": 15}),
)  # fmt: skip
RESOLUTIONS = (
    js({"origin": {"topic": "t.jobs", "partition": 0, "offset": 4}, "letter": "0:1", "action": "redriven", "at_ms": 2,
        "by": "me", "to": "t.jobs[0]@9"}),
)  # fmt: skip


@cache
def state() -> dict[str, bytes]:
    """Return the changelog of a partition on which one job has ended, one waits for a retry and one for results."""
    world = World()
    fan = {"name": "fan", "version": 1, "output": "{{ notes }}", "steps": {"notes": {
        "for_each": "{{ input['items'] }}", "llm": {"pool": "small", "prompt": "note {{ item }}"}}}}  # fmt: skip
    world.submit("done", fan, {"items": [1, 2]})
    world.run()
    world.submit("a", fan, {"items": [1, 2, 3]})
    world.submit("b", fan, {"items": [1]})
    world.deal()
    return {key: encode_record(record) for key, record in world.records.items()} | {
        "owner": b'{"id":"t.orchestrator.a"}', "cursor/jobs": b'{"offset":4}'
    }  # fmt: skip

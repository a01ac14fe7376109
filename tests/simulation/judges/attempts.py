"""Guarantee 2: attempts stay within their policy, and what was answered is not asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from headrace.orchestrator.core.state import TaskRecord
from headrace.schemas.workflow import RetrySpec
from tests.simulation.history import History

INTERRUPTED = frozenset({"interrupted"})
"""Kinds of failure that a crash or a stop brings about: not the policy's to count."""


def attempts(history: History) -> Iterator[str]:
    """Look at what was dispatched, and at the records that say that a task ended."""
    yield from _within_policy(history)
    yield from _not_again(history)


def _within_policy(history: History) -> Iterator[str]:
    interruptions = Counter(
        task_id
        for (task_id, _), result in history.first_results.items()
        if (result.get("failure") or {}).get("kind") in INTERRUPTED
    )
    for task_id, attempt in history.dispatched:
        job_id, step, _ = task_id.split("/")
        allowed = _policy(history, job_id, step) + interruptions[task_id]
        if attempt > allowed:
            yield f"{task_id} had attempt {attempt} where {allowed} are allowed"


def _policy(history: History, job_id: str, step: str) -> int:
    known: list[dict[str, Any]] = history.submissions.get(job_id, [])
    specs = [each["workflow"]["steps"][step] for each in known if isinstance(each["workflow"], dict)]
    default = RetrySpec().attempts
    return max((spec.get("retry", {}).get("attempts", default) for spec in specs), default=default)


def _not_again(history: History) -> Iterator[str]:
    ended: set[str] = set()
    for each in history.committed:
        for task in each.tasks:
            if task["task_id"] in ended:
                yield f"{task['task_id']} was asked for again (attempt {task['attempt']}) after it had ended"
        for _, key, record in each.state:
            if isinstance(record, TaskRecord) and record.ended:
                ended.add(key.removeprefix("task/"))

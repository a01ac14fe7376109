"""Guarantee 2: attempts stay within their policy, and what was answered is not asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from headrace.orchestrator.core.retry import DEFAULTS
from headrace.orchestrator.core.state import TaskRecord
from tests.simulation.history import Attempt, History

NOT_STARTED = frozenset({"deadline_exceeded", "cancelled"})
"""What a worker refused to begin; not the policy's to count, nor is what a crash interrupted."""


def attempts(history: History) -> Iterator[str]:
    """Look at what was dispatched, and at the records that say that a task ended."""
    yield from _within_policy(history)
    yield from _not_again(history)


def _within_policy(history: History) -> Iterator[str]:
    free = Counter(task_id for task_id, _ in _owed(history))
    for (task_id, _), result in history.first_results.items():
        free[task_id] += (result.get("failure") or {}).get("kind") in NOT_STARTED
    for task_id, attempt in history.dispatched:
        job_id, step, _ = task_id.split("/")
        allowed = _policy(history, job_id, step) + free[task_id]
        if attempt > allowed:
            yield f"{task_id} had attempt {attempt} where {allowed} are allowed"


def _owed(history: History) -> set[Attempt]:
    """Return the attempts that were ever of unknown fate: interrupted or lost. One that was settled by a late result in
    the transaction in which it was booked stands in no record.
    """
    interrupted = {
        attempt
        for attempt, result in history.first_results.items()
        if (result.get("failure") or {}).get("kind") == "interrupted"
    }
    return interrupted | {
        (key.removeprefix("task/"), owed.attempt)
        for each in history.committed
        for _, key, record in each.state
        if isinstance(record, TaskRecord)
        for owed in record.owed
    }


def _policy(history: History, job_id: str, step: str) -> int:
    known: list[dict[str, Any]] = history.submissions.get(job_id, [])
    specs = [each["workflow"]["steps"][step] for each in known if isinstance(each["workflow"], dict)]
    most = max(policy.attempts for policy in DEFAULTS.values())
    return max((spec.get("retry", {}).get("attempts", most) for spec in specs), default=most)


def _not_again(history: History) -> Iterator[str]:
    ended: set[str] = set()
    for each in history.committed:
        for task in each.tasks:
            if task["task_id"] in ended:
                yield f"{task['task_id']} was asked for again (attempt {task['attempt']}) after it had ended"
        for _, key, record in each.state:
            if isinstance(record, TaskRecord) and record.ended:
                ended.add(key.removeprefix("task/"))

"""What attempts that go out have in common, whatever they call."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.state import JobHeader, TaskRecord, TaskStatus
from headrace.orchestrator.core.turn import Turn


def outgoing(before: TaskRecord | None, now_ms: int, reserved: tuple[int, int] | None) -> TaskRecord:
    """Return the record of an attempt that goes out.

    Args:
        before: the task's record where it was tried before.
        reserved: what is set aside for it.
    """
    if before is None:
        return TaskRecord(TaskStatus.LIVE, 1, now_ms, reserved=reserved)
    return replace(
        before,
        status=TaskStatus.LIVE,
        attempt=before.attempt + 1,
        at_ms=now_ms,
        due_ms=None,
        failure=None,
        reserved=reserved,
        cause="",
    )


def over_budget(header: JobHeader, bound: tuple[int, int]) -> str:
    """Return what there is to say where a call does not fit the budget."""
    return (
        f"the next call may take {bound[0]} tokens and {bound[1]} micro-US-dollars, more than the budget leaves "
        f"(tokens {header.spec.budget_tokens}, micro-US-dollars {header.spec.budget_microusd})"
    )


def not_after_ms(turn: Turn, record: TaskRecord, *, compulsory: bool = False) -> int:
    """Return the last moment at which a worker may start a task's call: the rule of lost tasks rests on it."""
    limit, deadline = record.at_ms + turn.environment.limits.queue_limit_ms, turn.header.spec.deadline_ms
    return limit if deadline is None or compulsory else min(limit, deadline)

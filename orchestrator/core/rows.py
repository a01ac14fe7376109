"""Many results of one job that lie in a row, decided at once.

A job's header is made anew with every result, its counters and its money with it. Of results that each do no more than
end a task, the header is made once for all of them: what is left behind is the same as if each had been decided alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.state import Phase, TaskRecord, TaskStatus
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.messages import Result


def answered_in_a_row(turn: Turn, results: Sequence[Result]) -> int:
    """Take results, up to the first that does more than end a task with a short text; return how many were taken.

    The one that may end its step is left too: only what cannot fail is taken.

    Args:
        turn: a turn in which nothing was decided yet.
        results: of the turn's job, in the order of their partition.
    """
    header = turn.header_or_none()
    if not results or header is None or header.phase is not Phase.RUNNING or header.blocked:
        return 0
    graph_step = _step_of(turn, results[0])
    if graph_step is None or graph_step.llm is None:
        return 0
    state = header.step(graph_step.name)
    begin = f"{turn.job_id}/{graph_step.name}/"
    most = turn.environment.limits.item_inline_bytes // 4
    changes, settled, truncated = turn.changes, [], 0
    for result in results[: max(0, state.total - state.ended - 1)]:
        # The key of its record spells the task's id: where a record is found, the id is right.
        if not result.task_id.startswith(begin) or not _is_short_text(result, most):
            break
        key = "task/" + result.task_id
        record = turn.record(key)
        if not isinstance(record, TaskRecord) or not _is_answered(record, result):
            break
        changes[key] = TaskRecord(
            TaskStatus.DONE,
            record.attempt,
            turn.now_ms,
            output=result.output,
            truncated=result.truncated,
        )
        settled.append((record.reserved, result))
        truncated += result.truncated
    if settled:
        count = len(settled)
        header = budget.settle_all(header, settled, pool=graph_step.llm.pool)
        state = state.moved(live=-count, done=count, truncated=truncated)
        turn.header = header.with_step(graph_step.name, state)
    return len(settled)


def _step_of(turn: Turn, result: Result) -> Step | None:
    """Return the step that a result is of."""
    parts = result.task_id.split("/")
    header = turn.header
    return turn.graph.step(parts[1]) if len(parts) == 3 and any(parts[1] == name for name, _ in header.steps) else None


def _is_short_text(result: Result, most: int) -> bool:
    """Whether a result says no more than a text of at most so many characters."""
    output = result.output
    return (
        isinstance(output, str)
        and len(output) <= most
        and result.failure is None
        and result.output_ref is None
        and not result.unconfirmed
    )


def _is_answered(record: TaskRecord, result: Result) -> bool:
    """Whether the result is of the attempt that is out, which went to the step's own pool, and no other is owed."""
    return (
        record.status is TaskStatus.LIVE
        and record.attempt == result.attempt
        and record.edit is None
        and not record.owed
    )

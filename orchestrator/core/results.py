"""A result comes in: the task ends, or waits for another attempt, and its job goes on."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.effects import Ignore
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.outcome import end_job
from headrace.orchestrator.core.progress import advance, shortfall
from headrace.orchestrator.core.retry import backoff_ms, may_retry
from headrace.orchestrator.core.state import (
    Phase,
    StepState,
    TaskRecord,
    TaskStatus,
)
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Failure, JobStatus, Result


def answered(turn: Turn, result: Result, jitter: float) -> None:
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        if header is None and turn.marker() is None:
            turn.set_aside("unknown_task", f"no job {turn.job_id} runs or ended here within the retention")
        else:
            turn.effect(Ignore("job_over"))
        return
    try:
        task_id = TaskId.parse(result.task_id)
    except DecodeError as error:
        turn.set_aside("unknown_task", error.message)
        return
    record = turn.task(task_id.step, task_id.index)
    if task_id.job_id != turn.job_id or record is None:
        turn.set_aside("unknown_task", f"task {result.task_id} of job {turn.job_id} was never dispatched")
    elif result.attempt > record.attempt:
        turn.set_aside("unknown_attempt", f"attempt {result.attempt} of task {result.task_id} was never dispatched")
    elif record.status is not TaskStatus.LIVE or record.attempt != result.attempt:
        turn.effect(Ignore("repeated_result"))
    else:
        _settle(turn, task_id, record, result, jitter)


def _settle(turn: Turn, task_id: TaskId, record: TaskRecord, result: Result, jitter: float) -> None:
    graph_step = turn.graph.step(task_id.step)
    failure = result.failure
    kept = record
    if failure is None:
        kept, failure = _keep_output(turn, record, result)
    retry = failure is not None and may_retry(failure, record.attempt, graph_step.retry)
    turn.header = budget.settle(turn.header, record.reserved, result, ended=not retry)
    if failure is None:
        _succeed(turn, graph_step, task_id, kept)
    elif retry:
        _retry_later(turn, task_id, record, failure, jitter)
    else:
        fail_task(turn, graph_step, task_id.index, failure, record)


def _keep_output(turn: Turn, record: TaskRecord, result: Result) -> tuple[TaskRecord, Failure | None]:
    """Return the finished record, its output inline or as a claim check; or why it cannot be kept."""
    limits = turn.environment.limits
    done = TaskRecord(TaskStatus.DONE, record.attempt, turn.now_ms, truncated=result.truncated)
    output = result.output
    if result.output_ref is not None:
        return replace(done, output_ref=result.output_ref), None
    if isinstance(output, str) and len(output) * 4 <= limits.item_inline_bytes:
        return replace(done, output=output), None
    if found := json_problem(output):
        message = f"the output is no JSON that can be passed on: {found[0] or 'value'}: {found[1]}"
        return record, Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message)
    data = canonical_json(output)
    if len(data) <= limits.item_inline_bytes or (not turn.environment.objects and len(data) <= limits.inline_bytes):
        return replace(done, output=output), None
    if not turn.environment.objects:
        message = f"an output of {len(data)} bytes needs an object store: install the extra `objects`"
        return record, Failure(kind=ErrorKind.TOO_LARGE, message=message)
    return replace(done, output_ref=turn.store(data)), None


def _succeed(turn: Turn, graph_step: Step, task_id: TaskId, record: TaskRecord) -> None:
    turn.put_task(task_id.step, task_id.index, record)
    state = turn.step_state(task_id.step)
    state = replace(state, live=state.live - 1, done=state.done + 1, truncated=state.truncated + record.truncated)
    turn.set_step(graph_step.name, state)
    _follow_up(turn, state)


def _follow_up(turn: Turn, state: StepState) -> None:
    """Look at the graph again only where a step may have come to its end: the others cost nothing."""
    if state.ended >= state.total:
        advance(turn)


def _retry_later(turn: Turn, task_id: TaskId, record: TaskRecord, failure: Failure, jitter: float) -> None:
    policy = turn.graph.step(task_id.step).retry
    wait = backoff_ms(record.attempt, policy=policy, jitter=jitter, retry_after_ms=failure.retry_after_ms)
    waiting = TaskRecord(TaskStatus.RETRYING, record.attempt, turn.now_ms, due_ms=turn.now_ms + wait, failure=failure)
    turn.put_task(task_id.step, task_id.index, waiting)
    state = turn.step_state(task_id.step)
    turn.set_step(task_id.step, replace(state, live=state.live - 1, retrying=state.retrying + 1))
    turn.announce(
        "task.retried",
        step=task_id.step,
        subject=f"{task_id.index}/{record.attempt}",
        index=task_id.index,
        attempt=record.attempt,
        reason=failure.kind.value,
        wait_ms=wait,
    )


def fail_task(turn: Turn, graph_step: Step, index: int, failure: Failure, record: TaskRecord | None) -> None:
    """Settle a task that failed for good, and the job with it where the step cannot do without.

    Args:
        record: what the task was until now; None where it was never dispatched.
    """
    attempt, was = (record.attempt, record.status) if record else (0, None)
    turn.put_task(graph_step.name, index, TaskRecord(TaskStatus.FAILED, attempt, turn.now_ms, failure=failure))
    state = turn.step_state(graph_step.name)
    state = replace(
        state,
        live=state.live - (was is TaskStatus.LIVE),
        retrying=state.retrying - (was is TaskStatus.RETRYING),
        failed=state.failed + 1,
    )
    turn.set_step(graph_step.name, state)
    if turn.header.blocked:
        turn.header = replace(turn.header, blocked=False)  # Something ended: what waits for the budget looks again.
    turn.announce("task.failed", step=graph_step.name, subject=str(index), index=index, reason=failure.kind.value)
    if short := shortfall(graph_step, state, failure):
        end_job(turn, JobStatus.FAILED, short.kind, short.message)
    else:
        _follow_up(turn, state)

"""A result comes in: its money is settled, the task ends or waits for another attempt, and its job goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.effects import Ignore, PublishControl
from headrace.orchestrator.core.failures import attempt_failed, follow_up, with_owed
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.scripts.proceed import is_over, order_of
from headrace.orchestrator.core.state import Phase, TaskRecord, TaskStatus
from headrace.orchestrator.core.task_calls import pool_of
from headrace.orchestrator.core.told import Told
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Failure, ObjectRef, Result


def answered(turn: Turn, result: Result, jitter: float) -> None:
    """Take a result: of the attempt that is out, of an older one whose fate was unknown, or of neither."""
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
        turn.set_aside("unknown_attempt", f"task {result.task_id} has had {record.attempt} attempts")
    elif record.status is TaskStatus.LIVE and record.attempt == result.attempt:
        _settle(turn, task_id, record, result, jitter)
    elif (owed := _owed_by(record, result)) is not None:
        _late(turn, task_id, record, result, owed)
    else:
        turn.effect(Ignore("repeated_result"))


def _owed_by(record: TaskRecord, result: Result) -> Owed | None:
    """Return the older attempt that a result answers; one that says "unknown" once more answers nothing."""
    if result.unconfirmed:
        return None
    return next((owed for owed in record.owed if owed.attempt == result.attempt), None)


def _settle(turn: Turn, task_id: TaskId, record: TaskRecord, result: Result, jitter: float) -> None:
    graph_step = turn.graph.step(task_id.step)
    pool = pool_of(turn, graph_step, task_id.index, record)
    if graph_step.script is not None:
        record = _with_told(record, result)
    failure, done = result.failure, record
    if failure is None:
        done, failure = _keep_output(turn, record, result)
    settled = result
    if failure is not None and failure.kind is ErrorKind.INTERRUPTED:
        settled = result.model_copy(update={"unconfirmed": True})  # Also from a worker that does not know the word yet.
    turn.header = budget.settle(turn.header, record.reserved, settled, pool=pool, ended=failure is None)
    if failure is None:
        _succeed(turn, graph_step, task_id, done, was=record.status)
        return
    # A worker that was taken for dead may still send its answer.
    interrupted = failure.kind is ErrorKind.INTERRUPTED
    record = with_owed(record, pool) if interrupted else replace(record, reserved=None)
    attempt_failed(turn, task_id, record, failure, cause=result.cause, jitter=jitter, report=result)


def _late(turn: Turn, task_id: TaskId, record: TaskRecord, result: Result, owed: Owed) -> None:
    """Settle the money of an older attempt; a good answer also ends the task where it is still open."""
    answers = result.failure is None and not record.ended
    graph_step = turn.graph.step(task_id.step)
    if graph_step.script is not None:
        record = _with_told(record, result, keep=not answers)
    turn.header = budget.confirm(turn.header, owed, result, ended=answers)
    record = replace(record, owed=tuple(each for each in record.owed if each is not owed))
    turn.put_task(task_id.step, task_id.index, record)
    turn.announce("task.answered_late", step=task_id.step, subject=f"{task_id.index}/{result.attempt}")
    if not answers:
        return
    done, failure = _keep_output(turn, record, result)
    if failure is not None:
        return
    if record.status is TaskStatus.LIVE:
        # The newer attempt goes on for nothing; what it costs is known when its result comes.
        pool = pool_of(turn, graph_step, task_id.index, record)
        turn.header = budget.owe(turn.header, record.reserved, pool=pool)
        done = replace(done, owed=with_owed(record, pool).owed)
    _succeed(turn, graph_step, task_id, done, was=record.status)


def _keep_output(turn: Turn, record: TaskRecord, result: Result) -> tuple[TaskRecord, Failure | None]:
    """Return the finished record, its output inline or as a claim check; or why it cannot be kept."""
    limits = turn.environment.limits

    def done(output: Any = None, ref: ObjectRef | None = None) -> TaskRecord:
        return TaskRecord(
            TaskStatus.DONE,
            record.attempt,
            turn.now_ms,
            output=output,
            output_ref=ref,
            truncated=result.truncated,
            owed=record.owed,
            told=record.told,
        )

    output = result.output
    if result.output_ref is not None:
        return done(ref=result.output_ref), None
    if isinstance(output, str) and len(output) * 4 <= limits.item_inline_bytes:
        return done(output), None
    if found := json_problem(output):
        message = f"the output is no JSON that can be passed on: {found[0] or 'value'}: {found[1]}"
        return record, Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message)
    data = canonical_json(output)
    if len(data) <= limits.item_inline_bytes or (not turn.environment.objects and len(data) <= limits.inline_bytes):
        return done(output), None
    if not turn.environment.objects:
        message = f"an output of {len(data)} bytes needs an object store: install the extra `objects`"
        return record, Failure(kind=ErrorKind.TOO_LARGE, message=message)
    return done(ref=turn.store(data)), None


def _succeed(turn: Turn, graph_step: Step, task_id: TaskId, done: TaskRecord, *, was: TaskStatus) -> None:
    if is_over(turn, graph_step):
        done = replace(done, output=None, output_ref=None, told=replace(done.told or Told(), late=True))
        turn.effect(PublishControl(order_of(turn.job_id, graph_step, task_id.index), None))
    turn.put_task(task_id.step, task_id.index, done)
    state = turn.step_state(task_id.step).moved(
        live=-(was is TaskStatus.LIVE), retrying=-(was is TaskStatus.RETRYING), done=1, truncated=done.truncated
    )
    turn.set_step(graph_step.name, state)
    follow_up(turn, graph_step, state)


def _with_told(record: TaskRecord, result: Result, *, keep: bool = False) -> TaskRecord:
    """Return the record with what a script goes by: cost over all attempts, the rest of this one.

    Args:
        keep: leave the rest as it is: another attempt's answer is the task's.
    """
    before, usage = record.told or Told(), result.usage
    cost = before.cost_microusd + result.cost_microusd
    if keep:
        return replace(record, told=replace(before, cost_microusd=cost))
    told = Told(result.confidence, usage.input_tokens, usage.cached_tokens, usage.output_tokens, cost)
    return replace(record, told=told)

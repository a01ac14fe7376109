"""An attempt failed, was interrupted, or is lost: another one is made, or the task is over."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.dispatch import task_again
from headrace.orchestrator.core.effects import Ignore, PublishControl, SetTaskAside
from headrace.orchestrator.core.events import TaskLost
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.outcome import end_job
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.progress import advance, shortfall
from headrace.orchestrator.core.repair import next_repair
from headrace.orchestrator.core.retry import backoff_ms, policy_for
from headrace.orchestrator.core.scripts.proceed import is_over, order_of
from headrace.orchestrator.core.scripts.run import Failed
from headrace.orchestrator.core.state import JobHeader, Phase, StepState, TaskRecord, TaskStatus
from headrace.orchestrator.core.steps import RetryRules
from headrace.orchestrator.core.task_calls import call_of, pool_of, retry_of, tool_of
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import walked
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import ErrorKind
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import AttemptNote, Failure, JobStatus, Result

MAX_HISTORY = 10
MAX_NOTE = 200
NOT_STARTED_WAIT_MS = 5_000
"""How long a task waits that no worker began in time: clocks that differ must not make it go in circles."""
LOST = "lost"
"""The cause of an interruption that the orchestrator found out by itself; workers report ``kill`` and ``stop``."""
_NOT_STARTED = (ErrorKind.DEADLINE_EXCEEDED, ErrorKind.CANCELLED)
"""What a worker refused, though the job runs: it waited beyond its queue limit, or an order of an earlier job of the
same id was not lifted yet. The job's own deadline and its own cancel end it before such a result is read."""
_SILENT = (ErrorKind.CANCELLED, ErrorKind.DEADLINE_EXCEEDED, ErrorKind.BUDGET_EXCEEDED)
"""Failures that are no news to an operator."""


def attempt_failed(
    turn: Turn,
    task_id: TaskId,
    record: TaskRecord,
    failure: Failure,
    *,
    cause: str,
    jitter: float,
    report: Result | None = None,
) -> None:
    """Decide what follows a failed attempt whose money is booked already.

    Args:
        record: the task as it was while the attempt was out; its `owed` already names the attempt where it must.
        cause: why it was interrupted, where it was.
        jitter: in [0, 1).
        report: the result that told of it; None where the orchestrator found out by itself.
    """
    graph_step = turn.graph.step(task_id.step)
    if is_over(turn, graph_step):
        _end_called_off(turn, graph_step, task_id, record, failure)
        return
    pool = pool_of(turn, graph_step, task_id.index, record)
    record = _noted(record, failure, at_ms=turn.now_ms, pool=pool, worker=report.worker if report is not None else "")
    rules = retry_of(turn, graph_step, task_id.index)
    wait = _wait_ms(turn, rules, record := _counted(record, failure, cause), failure, jitter)
    tool = tool_of(turn, graph_step, task_id.index)
    if tool is not None and not tool.repeatable and (report is None or report.unconfirmed):
        # Once too often is worse than not at all, and only the service knows: nobody here decides for it.
        wait, failure = None, _doubtful(failure, tool.name)
    if turn.header.ending is not None and failure.kind in _NOT_STARTED and not _wanted(turn, graph_step, task_id.index):
        wait = None  # Nothing more goes forward.
    if graph_step.nested is not None and not _asked_for(rules, failure):
        wait = None  # Its own tasks were tried again already: all of it once more only where the step says so.
    if wait is None:
        _give_up(turn, graph_step, task_id, record, failure)
    else:
        record = replace(record, repair=next_repair(record.repair, failure, report))
        _retry_later(turn, task_id, record, failure, wait)


def task_lost(turn: Turn, event: TaskLost) -> None:
    """Book the attempt that nobody will answer at its upper bound, and go on as after an interruption."""
    header, task_id = turn.header_or_none(), TaskId.parse(event.task_id)
    record = turn.task(task_id.step, task_id.index)
    if not _is_out(header, record, event.attempt):
        turn.effect(Ignore("not_lost"))
        return
    assert record is not None
    pool = pool_of(turn, turn.graph.step(task_id.step), task_id.index, record)
    turn.header = budget.owe(turn.header, record.reserved, pool=pool)
    record = with_owed(record, pool)
    failure = Failure(kind=ErrorKind.INTERRUPTED, message=event.message[:500])
    turn.announce("task.lost", step=task_id.step, subject=f"{task_id.index}/{event.attempt}", index=task_id.index)
    attempt_failed(turn, task_id, record, failure, cause="" if event.overdue else LOST, jitter=event.jitter)


def _is_out(header: JobHeader | None, record: TaskRecord | None, attempt: int) -> bool:
    running = header is not None and header.phase is Phase.RUNNING
    return running and record is not None and record.status is TaskStatus.LIVE and record.attempt == attempt


def with_owed(record: TaskRecord, pool: str) -> TaskRecord:
    """Return the record with its attempt noted as one whose result may still come."""
    tokens, microusd = record.reserved or (0, 0)
    return replace(record, owed=(*record.owed, Owed(record.attempt, pool, tokens, microusd)), reserved=None)


def _noted(record: TaskRecord, failure: Failure, *, at_ms: int, pool: str, worker: str) -> TaskRecord:
    note = AttemptNote(
        attempt=record.attempt,
        kind=failure.kind,
        message=failure.message[:MAX_NOTE],
        at_ms=at_ms,
        pool=pool,
        worker=worker[:MAX_NOTE],
    )
    return replace(record, history=(*record.history, note)[-MAX_HISTORY:])


def _counted(record: TaskRecord, failure: Failure, cause: str) -> TaskRecord:
    """Return the record with an attempt taken out of the policy's count where it was not the task's fault."""
    if failure.kind not in (*_NOT_STARTED, ErrorKind.INTERRUPTED):
        return replace(record, cause="")
    died = cause in ("kill", LOST)
    return replace(
        record, free=record.free + 1, kills=record.kills + died, stops=record.stops + (not died), cause=cause
    )


def _wait_ms(turn: Turn, rules: RetryRules, record: TaskRecord, failure: Failure, jitter: float) -> int | None:
    """Return how long to wait before the next attempt; None where there is none."""
    if failure.kind in _NOT_STARTED:
        return None if _used_up(record, turn.environment.limits) else NOT_STARTED_WAIT_MS
    policy = policy_for(failure.kind, rules)
    if failure.kind is ErrorKind.INTERRUPTED:
        times = record.kills + record.stops
        if _used_up(record, turn.environment.limits):
            return None
        # The first time another worker takes it at once: whoever waits has waited long enough.
        return backoff_ms(times - 1, policy=policy, jitter=jitter) if times > 1 else 0
    if record.counted >= policy.attempts:
        return None
    return backoff_ms(record.counted, policy=policy, jitter=jitter, retry_after_ms=failure.retry_after_ms)


def _used_up(record: TaskRecord, limits: Limits) -> bool:
    return record.kills >= limits.max_kills or record.stops >= limits.max_stops


def _retry_later(turn: Turn, task_id: TaskId, record: TaskRecord, failure: Failure, wait_ms: int) -> None:
    was = record.status
    waiting = replace(
        record,
        status=TaskStatus.RETRYING,
        at_ms=turn.now_ms,
        due_ms=turn.now_ms + wait_ms,
        failure=failure,
        reserved=None,
    )
    turn.put_task(task_id.step, task_id.index, waiting)
    state = turn.step_state(task_id.step)
    live, retrying = was is TaskStatus.LIVE, was is TaskStatus.RETRYING
    turn.set_step(task_id.step, state.moved(live=-live, retrying=1 - retrying))
    turn.announce(
        "task.retried",
        step=task_id.step,
        subject=f"{task_id.index}/{record.attempt}",
        index=task_id.index,
        attempt=record.attempt,
        reason=failure.kind.value,
        wait_ms=wait_ms,
    )


def _give_up(turn: Turn, graph_step: Step, task_id: TaskId, record: TaskRecord, failure: Failure) -> None:
    reason = "exhausted"
    if failure.kind is ErrorKind.INTERRUPTED:
        if record.kills >= turn.environment.limits.max_kills:
            reason = "quarantined"
        times = f"interrupted {record.kills + record.stops} times, {record.kills} of them by the death of its worker"
        failure = failure.model_copy(update={"message": f"{reason}: {times}; last: {failure.message}"[:1_000]})
    task = None if failure.kind in _SILENT else task_again(turn, graph_step, task_id.index, record)
    if task is not None and (reason == "quarantined" or _wanted(turn, graph_step, task_id.index)):
        turn.effect(SetTaskAside(reason, failure.message, task, record.history, record.redrives))
        task = None
    turn.header = budget.count_task(turn.header, pool_of(turn, graph_step, task_id.index, record))
    fail_task(turn, graph_step, task_id.index, failure, record)
    if task is not None and isinstance(walked(turn, graph_step).then, Failed):
        # A script that goes on without an answer needs nobody to look at it.
        turn.effect(SetTaskAside(reason, failure.message, task, record.history, record.redrives))


def _wanted(turn: Turn, step: Step, index: int) -> bool:
    """Return whether a task's failure is an operator's business whatever its script makes of it."""
    return step.script is None or call_of(turn, step, index).compulsory


def _asked_for(rules: RetryRules, failure: Failure) -> bool:
    return failure.kind in rules.on or (rules.general.attempts is not None and failure.kind is not ErrorKind.CANCELLED)


def _doubtful(failure: Failure, tool: str) -> Failure:
    message = f"nobody knows whether {tool} did it, and it is not declared idempotent, so it is not asked again"
    return failure.model_copy(update={"message": f"{message}: {failure.message}"[:1_000]})


def _end_called_off(turn: Turn, graph_step: Step, task_id: TaskId, record: TaskRecord, failure: Failure) -> None:
    """Settle a task whose step ended without it: nothing follows, and its order is lifted."""
    was = record.status
    over = replace(record, status=TaskStatus.FAILED, at_ms=turn.now_ms, due_ms=None, failure=failure, reserved=None)
    turn.put_task(graph_step.name, task_id.index, replace(over, cause="", history=(), repair=None))
    live, retrying = was is TaskStatus.LIVE, was is TaskStatus.RETRYING
    turn.set_step(graph_step.name, turn.step_state(graph_step.name).moved(live=-live, retrying=-retrying, failed=1))
    turn.header = budget.count_task(turn.header, pool_of(turn, graph_step, task_id.index, record))
    turn.effect(PublishControl(order_of(turn.job_id, graph_step, task_id.index), None))


def fail_task(turn: Turn, graph_step: Step, index: int, failure: Failure, record: TaskRecord | None) -> None:
    """Settle a task that failed for good, and the job with it where the step cannot do without.

    Args:
        record: what the task was until now; None where it was never dispatched.
    """
    was = record.status if record else None
    before = record or TaskRecord(TaskStatus.LIVE, 0, turn.now_ms)
    failed = replace(
        before,
        status=TaskStatus.FAILED,
        at_ms=turn.now_ms,
        due_ms=None,
        failure=failure,
        reserved=None,
        cause="",
        history=(),
        repair=None,
    )
    turn.put_task(graph_step.name, index, failed)
    state = turn.step_state(graph_step.name).moved(
        live=-(was is TaskStatus.LIVE), retrying=-(was is TaskStatus.RETRYING), failed=1
    )
    turn.set_step(graph_step.name, state)
    if turn.header.blocked:
        turn.header = replace(turn.header, blocked=False)  # Something ended: what waits for the budget looks again.
    turn.announce("task.failed", step=graph_step.name, subject=str(index), index=index, reason=failure.kind.value)
    if short := shortfall(graph_step, state, failure):
        end_job(turn, JobStatus.FAILED, short.kind, short.message)
    else:
        follow_up(turn, graph_step, state)


def follow_up(turn: Turn, graph_step: Step, state: StepState) -> None:
    """Look at the graph again only where a step may have come to its end: the others cost nothing."""
    if state.ended >= state.total or graph_step.script is not None:
        advance(turn)

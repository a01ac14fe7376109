"""`step`: the only door to a job's state. Pure; the same log gives the same state and the same effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from headrace.orchestrator.core.budget import is_limited
from headrace.orchestrator.core.damage import damaged
from headrace.orchestrator.core.demands import demands_of
from headrace.orchestrator.core.dispatch import dispatch, dispatch_again, may_go_again, ready_count
from headrace.orchestrator.core.effects import Ignore, PublishControl
from headrace.orchestrator.core.events import (
    CancelRequested,
    ClosingResumed,
    DispatchGranted,
    Event,
    JobBroke,
    JobRefused,
    JobSubmitted,
    Signalled,
    StateDamaged,
    TaskFailed,
    TaskLost,
    TaskRedriven,
    TaskSucceeded,
    TimerFired,
)
from headrace.orchestrator.core.failures import fail_task, task_lost
from headrace.orchestrator.core.kept_route import KeptRoute
from headrace.orchestrator.core.kept_signal import KeptSignal
from headrace.orchestrator.core.outcome import close_some, end_job
from headrace.orchestrator.core.payloads import InputBroken, PayloadLost
from headrace.orchestrator.core.progress import advance
from headrace.orchestrator.core.redrive import redriven
from headrace.orchestrator.core.results import answered
from headrace.orchestrator.core.rows import answered_in_a_row
from headrace.orchestrator.core.signals import signalled, waited_long_enough
from headrace.orchestrator.core.state import (
    Decision,
    JobHeader,
    Marker,
    Phase,
    StepStatus,
    TaskRecord,
    TaskStatus,
    job_key,
    marker_key,
)
from headrace.orchestrator.core.submissions import refused, submitted
from headrace.orchestrator.core.task_calls import pool_of
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.view import JobView
from headrace.orchestrator.core.winding_down import may_go
from headrace.orchestrator.core.window import Demand, Standing
from headrace.schemas.errors import ErrorKind
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import JobStatus, Result

BUDGET_WAIT_MS = 250
"""How long a retry that does not fit the budget waits before it looks again."""
WINDOW_WAIT_MS = 500
"""How long a retry waits whose time has come while its job's window is full: at most a window's worth of them do."""


AT_ONCE = 16
"""A job of at most so many tasks is closed as it ends."""


def step(view: JobView, event: Event, now_ms: int) -> Decision:
    """Decide what an event changes and causes.

    Args:
        view: the job, with what this batch has decided so far; it is not changed.
        event: what happened.
        now_ms: the time of the decision, milliseconds since the epoch.

    Returns:
        The records to write and the effects to carry out. An event that cannot be taken changes nothing and says
        why in an effect: `Ignore` (expected: repeats, lateness) or `SetAside` (the record goes to the dead letters).
    """
    turn = Turn(view, now_ms)
    try:
        _decide(turn, event)
        _wind_on(turn)
    except (InputBroken, PayloadLost) as error:
        turn = Turn(view, now_ms)
        _unreadable(turn, error)
    _close_small(turn)
    return turn.decision()


def answer(view: JobView, results: Sequence[Result], now_ms: int) -> tuple[Decision, int]:
    """Decide about results of a job that came in a row, as far as each does no more than end a task.

    Args:
        view: as in `step`.
        results: in the order of their partition.
        now_ms: as in `step`.

    Returns:
        The decision, which is that of `step` for each of them in turn, without effects; and how many of them it is
        about. The next one, if any, is for `step`.
    """
    turn = Turn(view, now_ms)
    count = answered_in_a_row(turn, results)
    return turn.decision(), count


def _wind_on(turn: Turn) -> None:
    """Let a job that ends go on to its end: what put it off may have nothing left to wait for."""
    header = turn.header_or_none()
    if header is not None and header.ending is not None and header.phase is Phase.RUNNING and turn.changes:
        advance(turn)


def _close_small(turn: Turn) -> None:
    """Close a small job in the decision that ends it: a transaction less, and it waits for no later one."""
    header = turn.changes.get(job_key(turn.job_id))
    if (
        isinstance(header, JobHeader)
        and header.phase is Phase.CLOSING
        and not (header.close_step or header.close_index)
    ):
        tasks = sum(state.next for _, state in header.steps)
        if tasks <= AT_ONCE:
            close_some(turn, tasks + 1)


def _decide(turn: Turn, event: Event) -> None:
    match event:
        case JobSubmitted():
            submitted(turn, event)
        case JobRefused():
            refused(turn, event)
        case TaskSucceeded():
            answered(turn, event.result, 0.0)
        case TaskFailed():
            answered(turn, event.result, event.jitter)
        case TaskLost():
            task_lost(turn, event)
        case TaskRedriven():
            redriven(turn, event)
        case TimerFired():
            _timer_fired(turn, event.key)
        case CancelRequested():
            _cancelled(turn)
        case Signalled():
            signalled(turn, event)
        case JobBroke():
            _broke(turn, event)
        case StateDamaged():
            damaged(turn, event)
        case DispatchGranted():
            _granted(turn, event)
        case ClosingResumed():
            _closing_resumed(turn, event.limit)
        case _:
            assert_never(event)


def standing(view: JobView) -> Standing | None:
    """Return where a job stands with the dispatch window; None where it has nothing to dispatch and nothing out."""
    turn = Turn(view, 0)
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        return None
    demands: list[Demand] = []
    for name, state in header.steps:
        if (state.status is StepStatus.RUNNING or state.live) and may_go(turn, graph_step := turn.graph.step(name)):
            demands += demands_of(turn, graph_step, state)
    return Standing(header.spec.tenant, header.spec.lane, header.spec.priority, tuple(demands))


def channel_of(view: JobView, step: str, index: int, record: TaskRecord) -> tuple[str, str, int] | None:
    """Return the pool and the lane that a task of a running job went to, and how long its call may take, in ms.

    None of a nested job: it ends by itself, and says so in the transaction in which it does.

    Raises:
        IllegalTransition: the job does not run.
    """
    turn = Turn(view, 0)
    graph_step = turn.graph.step(step)
    if graph_step.nested is not None:
        return None
    pool = pool_of(turn, graph_step, index, record)
    timeout_ms = graph_step.timeout_ms or int(turn.environment.pools[pool].timeout_s * 1000)
    return pool, turn.header.spec.lane, timeout_ms


def _granted(turn: Turn, event: DispatchGranted) -> None:
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        turn.effect(Ignore("job_over"))
        return
    graph_step = turn.graph.step(event.step)
    before = turn.step_state(event.step).next
    refused = dispatch(turn, graph_step, event.count)
    for index, failure in refused:
        if turn.header.phase is not Phase.RUNNING:
            return
        fail_task(turn, graph_step, index, failure, None)
    if not turn.changes:
        turn.effect(Ignore("nothing_ready"))
    after = turn.step_state(event.step)
    stuck = turn.header.phase is Phase.RUNNING and after.next == before
    if stuck and is_limited(turn.header) and ready_count(turn, graph_step, 1):
        _out_of_budget(turn)


def _out_of_budget(turn: Turn) -> None:
    """The next call does not fit: wait for what is in flight to settle, or end with what there is."""
    if any(state.live or state.retrying for _, state in turn.header.steps):
        turn.header = replace(turn.header, blocked=True)
    else:
        end_job(turn, JobStatus.FAILED, ErrorKind.BUDGET_EXCEEDED, "the next call does not fit what the budget leaves")


def _wait_for_budget(turn: Turn, task_id: TaskId, record: TaskRecord) -> None:
    """A retry does not fit: it waits on while something in flight may settle for less than was set aside."""
    if any(state.live for _, state in turn.header.steps):
        turn.put_task(task_id.step, task_id.index, replace(record, due_ms=turn.now_ms + BUDGET_WAIT_MS))
    else:
        end_job(turn, JobStatus.FAILED, ErrorKind.BUDGET_EXCEEDED, "the next attempt does not fit the budget's rest")


def _timer_fired(turn: Turn, key: str) -> None:
    record = turn.record(key)
    due = getattr(record, "due_ms", None)
    if due is None or due > turn.now_ms:
        turn.effect(Ignore("late_timer"))
        return
    match record:
        case TaskRecord(status=TaskStatus.RETRYING):
            _retry_now(turn, TaskId.parse(key.removeprefix("task/")), record)
        case JobHeader():
            end_job(turn, JobStatus.EXPIRED, ErrorKind.DEADLINE_EXCEEDED, "the deadline passed")
        case KeptSignal():
            waited_long_enough(turn, record, key.rpartition("/")[2])
        case KeptRoute():
            turn.put(key, None)
        case Marker():
            _forget(turn, record)
        case _:
            turn.effect(Ignore("late_timer"))


def _retry_now(turn: Turn, task_id: TaskId, record: TaskRecord) -> None:
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        turn.effect(Ignore("job_over"))
        return
    graph_step = turn.graph.step(task_id.step)
    if not may_go(turn, graph_step):
        turn.effect(Ignore("job_ending"))
        return
    if not may_go_again(turn, graph_step):
        turn.put_task(task_id.step, task_id.index, replace(record, due_ms=turn.now_ms + WINDOW_WAIT_MS))
        return
    failure = dispatch_again(turn, graph_step, task_id.index, record)
    if failure is not None and failure.kind is ErrorKind.BUDGET_EXCEEDED:
        _wait_for_budget(turn, task_id, record)
    elif failure is not None:
        fail_task(turn, graph_step, task_id.index, failure, record)


def _forget(turn: Turn, marker: Marker) -> None:
    turn.put(marker_key(turn.job_id), None)
    if marker.cancelled:
        turn.effect(PublishControl(f"job/{turn.job_id}", None))


def _cancelled(turn: Turn) -> None:
    header = turn.header_or_none()
    if header is not None and header.ending is not None:
        turn.effect(Ignore("job_ending"))
    elif header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.CANCELLED, ErrorKind.CANCELLED, "cancelled on request")
    elif turn.marker() is not None:
        turn.effect(Ignore("job_over"))
    else:
        turn.set_aside("unknown_job", f"no job {turn.job_id} to cancel")


def _broke(turn: Turn, event: JobBroke) -> None:
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.FAILED, ErrorKind.INTERNAL, event.message, at_once=True)
    else:
        turn.effect(Ignore("job_over"))


def _unreadable(turn: Turn, error: InputBroken | PayloadLost) -> None:
    """What the job rests on cannot be read, for good: it ends with the reason, and nothing else stops."""
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.FAILED, error.kind, error.message, at_once=True)
    else:
        turn.effect(Ignore("job_over"))


def _closing_resumed(turn: Turn, limit: int) -> None:
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.CLOSING:
        turn.effect(Ignore("closed"))
        return
    close_some(turn, limit)

"""`step`: the only door to a job's state. Pure; the same log gives the same state and the same effects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import assert_never

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.admission import Accepted, admit
from headrace.orchestrator.core.dispatch import dispatch, dispatch_again, ready_count, room
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
    TaskFailed,
    TaskSucceeded,
    TimerFired,
)
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.outcome import close_some, end_job, refuse_job, repeat_outcome
from headrace.orchestrator.core.progress import advance, shortfall
from headrace.orchestrator.core.retry import backoff_ms, may_retry
from headrace.orchestrator.core.state import (
    INPUT_PART_BYTES,
    Decision,
    InputPart,
    JobHeader,
    Marker,
    Phase,
    StepState,
    StepStatus,
    TaskRecord,
    TaskStatus,
    WorkflowRecord,
    input_key,
    marker_key,
    workflow_key,
)
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.view import JobView
from headrace.orchestrator.core.window import Demand, Standing
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Failure, JobStatus, Result

BUDGET_WAIT_MS = 250
"""How long a retry that does not fit the budget waits before it looks again."""


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
    match event:
        case JobSubmitted():
            _submitted(turn, event)
        case JobRefused():
            _refused(turn, event)
        case TaskSucceeded():
            _answered(turn, event.result, 0.0)
        case TaskFailed():
            _answered(turn, event.result, event.jitter)
        case TimerFired():
            _timer_fired(turn, event.key)
        case CancelRequested():
            _cancelled(turn)
        case Signalled():
            _signalled(turn, event)
        case JobBroke():
            _broke(turn, event)
        case DispatchGranted():
            _granted(turn, event)
        case ClosingResumed():
            _closing_resumed(turn, event.limit)
        case _:
            assert_never(event)
    return turn.decision()


def standing(view: JobView) -> Standing | None:
    """Return where a job stands with the dispatch window; None where it has nothing to dispatch and nothing out."""
    turn = Turn(view, 0)
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING:
        return None
    demands = []
    for name, state in header.steps:
        if state.status is StepStatus.RUNNING and (llm := turn.graph.step(name).llm) is not None:
            graph_step = turn.graph.step(name)
            ready = ready_count(turn, graph_step, room(turn, graph_step))
            demands.append(Demand(name, llm.pool, state.live, ready))
    return Standing(header.tenant, header.lane, header.priority, tuple(demands))


# ── Submissions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _submitted(turn: Turn, event: JobSubmitted) -> None:
    if _known(turn, event):
        return
    verdict = admit(event.submission, turn.environment)
    if isinstance(verdict, Failure):
        refuse_job(turn, event, verdict.kind, verdict.message)
        return
    _write_job(turn, event, verdict)
    turn.announce("job.accepted", workflow=verdict.graph.ref, tenant=event.submission.tenant)
    if event.submission.deadline is not None and (turn.header.deadline_ms or 0) <= turn.now_ms:
        end_job(turn, JobStatus.EXPIRED, ErrorKind.DEADLINE_EXCEEDED, "the deadline had passed before the job was read")
        return
    advance(turn)


def _refused(turn: Turn, event: JobRefused) -> None:
    if not _known(turn, event):
        refuse_job(turn, event, event.kind, event.message)


def _known(turn: Turn, event: JobSubmitted | JobRefused) -> bool:
    """Answer a submission whose id is in use or spent; return whether it was."""
    marker, header = turn.marker(), turn.header_or_none()
    known = marker or header
    if known is None:
        return False
    if known.content_hash != event.content_hash:
        turn.set_aside("job_conflict", f"job {turn.job_id} was submitted before with another workflow or input")
    elif marker is not None:
        repeat_outcome(turn, marker, event.trace if isinstance(event, JobSubmitted) else ())
    else:
        turn.announce("job.resubmitted", subject=str(turn.now_ms))
    return True


def _write_job(turn: Turn, event: JobSubmitted, accepted: Accepted) -> None:
    submission, graph = event.submission, accepted.graph
    parts, ref = _input_parts(accepted.input_text), None
    if len(accepted.input_text.encode()) > turn.environment.limits.inline_bytes and turn.environment.objects:
        parts, ref = [], turn.store(accepted.input_text.encode())
    for number, text in enumerate(parts):
        turn.put(input_key(turn.job_id, number), InputPart(text))
    turn.put(workflow_key(graph.sha256), WorkflowRecord(graph.canonical.decode()))
    spending = submission.budget
    turn.header = JobHeader(
        job_id=turn.job_id,
        workflow=graph.ref,
        workflow_sha256=graph.sha256,
        content_hash=event.content_hash,
        tenant=submission.tenant,
        lane=submission.lane.value,
        priority=submission.priority,
        sensitivity=submission.sensitivity.value,
        submitted_at_ms=event.submitted_at_ms,
        accepted_at_ms=turn.now_ms,
        tokens_rule=turn.environment.tokens_rule,
        deadline_ms=int(submission.deadline.timestamp() * 1000) if submission.deadline else None,
        labels=tuple(submission.labels.items()),
        input_parts=len(parts),
        input_ref=ref,
        steps=tuple((graph_step.name, StepState()) for graph_step in graph.steps),
        trace=tuple((name, value.decode("ascii", "replace")) for name, value in event.trace),
        budget_microusd=spending.microusd if spending else None,
        budget_tokens=spending.tokens if spending else None,
    )
    turn.view.memo.values["input"] = json.loads(accepted.input_text)


def _input_parts(text: str) -> list[str]:
    """Cut the input's text so that no part is above 256 KB in UTF-8 (a character takes at most four bytes)."""
    size = INPUT_PART_BYTES // 4
    return [text[start : start + size] for start in range(0, len(text), size)]


# ── Results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _answered(turn: Turn, result: Result, jitter: float) -> None:
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
        _fail(turn, graph_step, task_id.index, failure, record)


def _keep_output(turn: Turn, record: TaskRecord, result: Result) -> tuple[TaskRecord, Failure | None]:
    """Return the finished record, its output inline or as a claim check; or why it cannot be kept."""
    limits = turn.environment.limits
    done = TaskRecord(TaskStatus.DONE, record.attempt, turn.now_ms, truncated=result.truncated)
    output = result.output
    if result.output_ref is not None:
        return replace(done, output_ref=result.output_ref), None
    if isinstance(output, str) and len(output) * 4 <= limits.item_inline_bytes:
        return replace(done, output=output), None
    try:
        data = canonical_json(output)
    except ValueError:
        return record, Failure(kind=ErrorKind.MALFORMED_OUTPUT, message="the output has numbers that JSON lacks")
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


def _fail(turn: Turn, graph_step: Step, index: int, failure: Failure, record: TaskRecord | None) -> None:
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


# ── Dispatch, timers, orders ─────────────────────────────────────────────────────────────────────────────────────────


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
        _fail(turn, graph_step, index, failure, None)
    after = turn.step_state(event.step)
    limited = turn.header.budget_microusd is not None or turn.header.budget_tokens is not None
    if limited and turn.header.phase is Phase.RUNNING and after.next == before and ready_count(turn, graph_step, 1):
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
    failure = dispatch_again(turn, graph_step, task_id.index, record)
    if failure is not None and failure.kind is ErrorKind.BUDGET_EXCEEDED:
        _wait_for_budget(turn, task_id, record)
    elif failure is not None:
        _fail(turn, graph_step, task_id.index, failure, record)


def _forget(turn: Turn, marker: Marker) -> None:
    turn.put(marker_key(turn.job_id), None)
    if marker.cancelled:
        turn.effect(PublishControl(f"job/{turn.job_id}", None))


def _cancelled(turn: Turn) -> None:
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.CANCELLED, ErrorKind.CANCELLED, "cancelled on request")
    elif turn.marker() is not None:
        turn.effect(Ignore("job_over"))
    else:
        turn.set_aside("unknown_job", f"no job {turn.job_id} to cancel")


def _broke(turn: Turn, event: JobBroke) -> None:
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.FAILED, ErrorKind.INTERNAL, event.message)
    else:
        turn.effect(Ignore("job_over"))


def _signalled(turn: Turn, event: Signalled) -> None:
    """No step of this language version waits for a signal; it is noted, or set aside where no job runs."""
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        turn.announce("signal.ignored", subject=f"{event.name}/{turn.now_ms}", name=event.name)
    else:
        turn.set_aside("unknown_job", f"no job {turn.job_id} to signal")


def _closing_resumed(turn: Turn, limit: int) -> None:
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.CLOSING:
        turn.effect(Ignore("closed"))
        return
    close_some(turn, limit)

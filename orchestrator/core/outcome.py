"""How a job ends: one outcome, a marker that remembers it, and the tombstones of everything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.effects import EmitOutcome, PublishControl
from headrace.orchestrator.core.events import JobRefused, JobSubmitted
from headrace.orchestrator.core.kept_signal import signal_key
from headrace.orchestrator.core.nested_answer import answer_parent, as_parent
from headrace.orchestrator.core.nested_dispatch import cancel_nested
from headrace.orchestrator.core.parent import Parent
from headrace.orchestrator.core.scripts.proceed import is_over, order_of
from headrace.orchestrator.core.scripts.run import Failed, Finished
from headrace.orchestrator.core.sessions import leave
from headrace.orchestrator.core.so_far import so_far
from headrace.orchestrator.core.state import (
    JobHeader,
    Marker,
    Phase,
    PoolSpent,
    StepState,
    StepStatus,
    TaskStatus,
    input_key,
    items_key,
    job_key,
    marker_key,
    task_key,
)
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import walked
from headrace.orchestrator.core.waits import missed
from headrace.orchestrator.core.winding_down import running_sagas, wind_down
from headrace.schemas.base import trusted
from headrace.schemas.codec import canonical_json, encode
from headrace.schemas.errors import ErrorKind, HeadraceError
from headrace.schemas.messages import (
    Control,
    FailedItem,
    Failure,
    JobStatus,
    Outcome,
    PatternReceipt,
    PoolReceipt,
    Receipt,
    StepReceipt,
    Unconfirmed,
    Usage,
)
from headrace.schemas.object_keys import MAX_OBJECT_BYTES

MAX_FAILED_ITEMS = 100
MAX_FAILED_MESSAGE = 1_000


def end_job(
    turn: Turn,
    status: JobStatus,
    reason: ErrorKind | None = None,
    message: str = "",
    *,
    output: Any = None,
    at_once: bool = False,
) -> None:
    """Write the job's outcome and marker, stop what is in flight, and begin the closing.

    Where a saga runs, the job ends later, with this status: see `winding_down`.

    Args:
        at_once: end it though a saga runs: nothing of the job can be decided any more.
    """
    header = turn.header
    sagas = [] if status is JobStatus.SUCCEEDED else running_sagas(turn)
    if sagas and not at_once:
        if header.ending is None:
            wind_down(turn, sagas, status=status, reason=reason, message=message)
        return
    for step in sagas:
        turn.announce("saga.abandoned", step=step.name)
        message = f"{message}; saga {step.name} was not undone"
    failed, total = failed_items(turn)
    partial = status is JobStatus.SUCCEEDED and _fell_short(turn)
    early = None if status is JobStatus.SUCCEEDED else so_far(turn)
    outcome = Outcome(
        job_id=header.spec.job_id,
        status=status,
        reason=reason,
        message=message[:2_000],
        partial=partial,
        output=output,
        so_far=early.outputs if early and early.outputs else None,
        so_far_cut=bool(early and early.cut),
        failed_items=failed,
        failed_items_total=total,
        workflow=header.spec.workflow,
        tenant=header.spec.tenant,
        labels=dict(header.spec.labels),
        submitted_at_ms=header.spec.submitted_at_ms,
        finished_at_ms=turn.now_ms,
        receipt=receipt_of(turn),
    )
    in_flight = any(state.live or state.retrying for _, state in header.steps)
    if in_flight:
        order = Control(subject=f"job/{header.spec.job_id}", action="cancel", at_ms=turn.now_ms, reason=status.value)
        turn.effect(PublishControl(order.subject, order))
    trace = tuple((name, text.encode()) for name, text in header.spec.trace)
    parent = header.spec.parent
    _publish(turn, outcome, header.spec.content_hash, cancelled=in_flight, trace=trace, parent=parent)
    cancel_nested(turn)
    turn.header = replace(header, phase=Phase.CLOSING)
    leave(turn)
    turn.announce("job.finished", status=status.value)


def refuse_job(turn: Turn, event: JobSubmitted | JobRefused, kind: ErrorKind, message: str) -> None:
    """Write the outcome of a job that was never accepted. Its id is spent like any other's."""
    submission = event.submission if isinstance(event, JobSubmitted) else None
    outcome = Outcome(
        job_id=turn.job_id,
        status=JobStatus.REJECTED,
        reason=kind,
        message=message[:2_000],
        workflow=submission.workflow if submission and isinstance(submission.workflow, str) else "",
        tenant=submission.tenant if submission else "default",
        labels=dict(submission.labels) if submission else {},
        submitted_at_ms=event.submitted_at_ms,
        finished_at_ms=turn.now_ms,
    )
    trace = event.trace if isinstance(event, JobSubmitted) else ()
    parent = as_parent(submission.parent) if submission else None
    _publish(turn, outcome, event.content_hash, cancelled=False, trace=trace, parent=parent)
    turn.announce("job.rejected", reason=kind.value)


def end_unknown(turn: Turn, message: str) -> None:
    """Write the outcome of a job of which nothing is known any more, and stop what may be in flight of it."""
    outcome = Outcome(
        job_id=turn.job_id,
        status=JobStatus.FAILED,
        reason=ErrorKind.INTERNAL,
        message=message[:2_000],
        finished_at_ms=turn.now_ms,
    )
    order = Control(subject=f"job/{turn.job_id}", action="cancel", at_ms=turn.now_ms, reason=outcome.status.value)
    turn.effect(PublishControl(order.subject, order))
    _publish(turn, outcome, "", cancelled=True, trace=())
    leave(turn)
    turn.announce("job.finished", status=outcome.status.value)


def marker_outcome(marker: Marker) -> Outcome:
    """Return the outcome that a marker keeps."""
    return Outcome.model_validate_json(marker.outcome)


def repeat_outcome(turn: Turn, marker: Marker, trace: tuple[tuple[str, bytes], ...]) -> None:
    """Answer a repeated submission with the first outcome, byte for byte."""
    value = marker.outcome.encode()
    turn.effect(EmitOutcome(turn.job_id, marker.status, value, marker.at_ms, repeat=True, trace=trace))


def _publish(
    turn: Turn,
    outcome: Outcome,
    content_hash: str,
    *,
    cancelled: bool,
    trace: tuple[tuple[str, bytes], ...],
    parent: Parent | None = None,
) -> None:
    limits = turn.environment.limits
    value = encode(outcome)
    if len(value) > limits.inline_bytes and outcome.so_far is not None:
        outcome = _so_far_apart(turn, outcome)
        value = encode(outcome)
    if len(value) > limits.inline_bytes and outcome.output is not None:
        data = canonical_json(outcome.output)
        if problem := _unkeepable(turn, len(data)):
            failed = {"output": None, "status": JobStatus.FAILED, "reason": ErrorKind.TOO_LARGE, "message": problem}
            outcome = outcome.model_copy(update=failed)
        else:
            outcome = outcome.model_copy(update={"output": None, "output_ref": turn.store(data)})
        value = encode(outcome)
    due = turn.now_ms + limits.retention_ms
    status = outcome.status.value
    turn.put(
        marker_key(turn.job_id),
        Marker(content_hash, status, value.decode(), turn.now_ms, due, cancelled=cancelled),
    )
    if parent is None:
        turn.effect(EmitOutcome(turn.job_id, status, value, turn.now_ms, trace=trace))
    else:
        answer_parent(turn, parent, outcome, trace)


def _so_far_apart(turn: Turn, outcome: Outcome) -> Outcome:
    """Return the outcome with what it has so far as a claim check; without an object store it is left out."""
    if not turn.environment.objects:
        return outcome.model_copy(update={"so_far": None, "so_far_cut": True})
    ref = turn.store(canonical_json(outcome.so_far))
    return outcome.model_copy(update={"so_far": None, "so_far_ref": ref})


def _unkeepable(turn: Turn, size: int) -> str | None:
    """Return why an output above the inline limit cannot be kept in the object store, or None."""
    if not turn.environment.objects:
        inline = turn.environment.limits.inline_bytes
        return f"the output has {size:,} bytes, inline at most {inline:,}: install extra `objects`"
    if size > MAX_OBJECT_BYTES:
        return f"the output has {size:,} bytes, the limit is {MAX_OBJECT_BYTES:,}: let the last step reduce it"
    return None


def _fell_short(turn: Turn) -> bool:
    """Return whether a step has less than it might: an item, or its whole answer."""
    return any(
        (turn.step_state(step.name).failed > 0 or missed(turn, step))
        if step.script is None
        else _script_failed(turn, step)
        for step in turn.graph.steps
    )


def _script_failed(turn: Turn, step: Step) -> bool:
    return not turn.step_state(step.name).skipped and isinstance(walked(turn, step).then, Failed)


def failed_items(turn: Turn) -> tuple[tuple[FailedItem, ...], int]:
    """Return the first hundred items that failed for good, and how many there are.

    Reads as many records as the steps with failures have: once a job, at its end.
    """
    found: list[FailedItem] = []
    total = 0
    graph = turn.graph_or_none
    nested = [step.name for step in graph.steps if step.nested is not None] if graph is not None and graph.nests else []
    for name, state in turn.header.steps:
        total += state.failed
        if not state.failed:
            continue
        for index in range(state.next):
            if len(found) == MAX_FAILED_ITEMS:
                break
            record = turn.task(name, index)
            if record is None or record.status is not TaskStatus.FAILED or record.failure is None:
                continue
            if record.failure.kind is ErrorKind.CANCELLED and name not in nested:
                total -= 1  # A script called it off, since it had its answer.
                continue
            found.append(FailedItem(task_id=f"{turn.job_id}/{name}/{index}", failure=_short(record.failure)))
    return tuple(found), total


def _short(failure: Failure) -> Failure:
    """Return a failure of which a hundred fit into an outcome."""
    if len(failure.message) <= MAX_FAILED_MESSAGE:
        return failure
    return failure.model_copy(update={"message": failure.message[:MAX_FAILED_MESSAGE]})


def receipt_of(turn: Turn) -> Receipt:
    """Return what the job did and what it cost."""
    header = turn.header
    pools = {pool: _pool_receipt(spent) for pool, spent in header.spent}
    steps, graph = {}, turn.graph_or_none
    for name, state in header.steps:
        step = graph.step(name) if graph else None
        steps[name] = trusted(
            StepReceipt,
            tasks=state.ended if step is None or step.makes_tasks else 0,
            failed=state.failed,
            truncated=state.truncated,
            repairs=state.repaired,
            started_ms=state.started_ms,
            finished_ms=state.finished_ms,
            template_hash=step.template_hash if step else "",
            skipped=state.skipped,
            pattern=_pattern(turn, step, state) if step and step.script is not None else None,
        )
    return trusted(
        Receipt,
        tasks=sum(receipt.tasks for receipt in steps.values()),
        attempts=sum(receipt.attempts for receipt in pools.values()),
        usage=_sum_usage([receipt.usage for receipt in pools.values()]),
        cost_microusd=sum(receipt.cost_microusd for receipt in pools.values()),
        unconfirmed=_unconfirmed(header),
        overrun_tokens=sum(spent.overrun_tokens for _, spent in header.spent),
        overrun_microusd=sum(spent.overrun_microusd for _, spent in header.spent),
        duplicated=sum(spent.duplicated for _, spent in header.spent),
        call_ms=sum(receipt.call_ms for receipt in pools.values()),
        pools=pools,
        steps=steps,
    )


def _pattern(turn: Turn, step: Step, state: StepState) -> PatternReceipt | None:
    """Return what a scripted step has to tell; nothing where what it rests on cannot be read now."""
    if state.status is StepStatus.WAITING or state.skipped:
        return None
    try:
        then = walked(turn, step).then
    except HeadraceError:
        return None
    return then.receipt if isinstance(then, Finished | Failed) else None


def _unconfirmed(header: JobHeader) -> Unconfirmed:
    """Return the attempts of unknown fate; those that are out when the job ends are among them, at what is reserved."""
    pools = [spent for _, spent in header.spent]
    return trusted(
        Unconfirmed,
        attempts=sum(spent.unconfirmed_attempts for spent in pools) + sum(state.live for _, state in header.steps),
        tokens=sum(spent.unconfirmed_tokens for spent in pools) + header.reserved_tokens,
        cost_microusd=sum(spent.unconfirmed_microusd for spent in pools) + header.reserved_microusd,
    )


def _pool_receipt(spent: PoolSpent) -> PoolReceipt:
    usage = trusted(
        Usage,
        input_tokens=spent.input_tokens,
        cached_tokens=spent.cached_tokens,
        cache_write_tokens=spent.cache_write_tokens,
        output_tokens=spent.output_tokens,
        reasoning_tokens=spent.reasoning_tokens,
    )
    return trusted(
        PoolReceipt,
        tasks=spent.tasks,
        attempts=spent.attempts,
        usage=usage,
        cost_microusd=spent.cost_microusd,
        unconfirmed=trusted(
            Unconfirmed,
            attempts=spent.unconfirmed_attempts,
            tokens=spent.unconfirmed_tokens,
            cost_microusd=spent.unconfirmed_microusd,
        ),
        call_ms=spent.call_ms,
        models=spent.models,
    )


def _sum_usage(usages: list[Usage]) -> Usage:
    return trusted(Usage, **{name: sum(getattr(usage, name) for usage in usages) for name in Usage.model_fields})


def close_some(turn: Turn, limit: int) -> None:
    """Tombstone at most `limit` records of a finished job; the header goes last, so the work can be resumed."""
    header = turn.header
    step_number, index, left = header.close_step, header.close_index, limit
    graph = turn.graph_or_none
    while step_number < len(header.steps) and left > 0:
        name, state = header.steps[step_number]
        dispatched = state.next if graph is None or graph.step(name).makes_tasks else 0
        batch = min(left, dispatched - index)
        over = graph is not None and is_over(turn, graph.step(name))
        for number in range(index, index + batch):
            if over and graph is not None:
                _lift_order(turn, graph.step(name), number)
            turn.put(task_key(header.spec.job_id, name, number), None)
        left -= batch
        step_number, index = (step_number + 1, 0) if index + batch >= dispatched else (step_number, index + batch)
    if left <= 0:
        turn.header = replace(header, close_step=step_number, close_index=index)
        return
    _close_rest(turn, header)


def _lift_order(turn: Turn, step: Step, index: int) -> None:
    """Lift the order about a task that was called off and has not settled: the order about its job covers it."""
    record = turn.task(step.name, index)
    if record is not None and record.status is TaskStatus.LIVE:
        turn.effect(PublishControl(order_of(turn.job_id, step, index), None))


def _close_rest(turn: Turn, header: JobHeader) -> None:
    for part in range(header.spec.input_parts):  # at most max_job_bytes / 256 KB
        turn.put(input_key(header.spec.job_id, part), None)
    graph = turn.graph_or_none
    for name, _ in header.steps if graph is None or graph.signals else ():
        if turn.record(key := signal_key(header.spec.job_id, name)) is not None:
            turn.put(key, None)
    for part in range(header.spec.items_parts):  # few: a submission has less than 1 MB
        turn.put(items_key(header.spec.job_id, part), None)
    turn.put(job_key(header.spec.job_id), None)

"""A nested job has ended: its outcome is the result of its parent's task."""

from __future__ import annotations

from headrace.orchestrator.core.effects import AnswerParent
from headrace.orchestrator.core.parent import Parent
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.calls import MAX_COUNT
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Nested, Outcome, ParentRef, Result, Usage

Trace = tuple[tuple[str, bytes], ...]


def answer_parent(turn: Turn, parent: Parent, outcome: Outcome, trace: Trace) -> None:
    """Send what a nested job came to to the task that it is the work of."""
    receipt = outcome.receipt
    usage = {name: min(count, MAX_COUNT) for name, count in receipt.usage.__dict__.items()}
    result = Result(
        task_id=parent.task_id,
        job_id=parent.task_id.partition("/")[0],
        attempt=parent.attempt,
        failure=_failure(outcome),
        output=outcome.output,
        output_ref=outcome.output_ref,
        usage=Usage(**usage),
        cost_microusd=min(receipt.cost_microusd, MAX_COUNT),
        call_ms=min(receipt.call_ms, MAX_COUNT),
        worker=outcome.job_id,
        nested=Nested(
            attempts=receipt.attempts,
            unconfirmed_attempts=receipt.unconfirmed.attempts,
            unconfirmed_tokens=receipt.unconfirmed.tokens,
            unconfirmed_microusd=receipt.unconfirmed.cost_microusd,
        ),
    )
    turn.effect(AnswerParent(result.job_id, result, trace))


def refuse_parent(turn: Turn, parent: ParentRef, message: str, trace: Trace) -> None:
    """Answer a task whose nested job cannot be."""
    result = Result(
        task_id=parent.task_id,
        job_id=parent.task_id.partition("/")[0],
        attempt=parent.attempt,
        failure=Failure(kind=ErrorKind.INVALID_JOB, message=message),
        worker=turn.job_id,
        nested=Nested(),
    )
    turn.effect(AnswerParent(result.job_id, result, trace))


def as_parent(ref: ParentRef | None) -> Parent | None:
    """Return a submission's parent as the state keeps it."""
    return None if ref is None else Parent(ref.task_id, ref.attempt, ref.depth)


def _failure(outcome: Outcome) -> Failure | None:
    match outcome.status:
        case JobStatus.SUCCEEDED:
            return None
        case JobStatus.EXPIRED:
            kind = ErrorKind.TIMEOUT
        case JobStatus.CANCELLED:
            # Somebody ended it by hand; its parent runs, or nobody reads this.
            kind = ErrorKind.CANCELLED
        case _:
            kind = outcome.reason or ErrorKind.INTERNAL
            if kind in (ErrorKind.INTERRUPTED, ErrorKind.DEADLINE_EXCEEDED):
                kind = ErrorKind.INTERNAL  # Of a worker's attempt these mean that nobody knows, or that it never began.
    message = f"nested job {outcome.job_id} {outcome.status.value}: {outcome.message}"
    return Failure(kind=kind, message=message[:1_000])

"""What can happen to a job. Past tense; the shell makes events of records and timers, `machine.step` answers them."""

from __future__ import annotations

from typing import Any

from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Result, Submission
from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class JobSubmitted:
    """A job was written to ``jobs`` and read on its home partition."""

    submission: Submission
    content_hash: str
    """`acceptance.submission_hash`: the same id with another hash is a conflict."""
    submitted_at_ms: int
    trace: tuple[tuple[str, bytes], ...] = ()
    """``traceparent`` and ``tracestate`` of the record, passed on with every task and the outcome."""


@value_object(frozen=True, slots=True)
class JobRefused:
    """A submission with an id that cannot be read or breaks the contract."""

    kind: ErrorKind
    message: str
    content_hash: str
    submitted_at_ms: int


@value_object(frozen=True, slots=True)
class TaskSucceeded:
    """A worker's result without a failure."""

    result: Result


@value_object(frozen=True, slots=True)
class TaskFailed:
    """A worker's result with a failure."""

    result: Result
    jitter: float
    """In [0, 1), drawn by the shell: the core owns no randomness."""


@value_object(frozen=True, slots=True)
class TaskLost:
    """A task that is done by its pool's offsets, or waits beyond all bounds, and of which no result came."""

    task_id: str
    attempt: int
    """The attempt that is lost; a newer one is none of this event's business."""
    message: str
    """How it was found out, for people."""
    jitter: float
    """As in `TaskFailed`."""
    overdue: bool = False
    """Its queue limit passed: nobody began it, as far as can be known."""


@value_object(frozen=True, slots=True)
class TaskRedriven:
    """An operator wants another attempt of a task that failed for good."""

    task_id: str
    pool: str | None = None
    """Another pool to do it."""
    messages: tuple[tuple[str, str], ...] | None = None
    """Another prompt: role and content."""
    redrives: int = 1
    """How often it was sent back, this time included."""


@value_object(frozen=True, slots=True)
class TimerFired:
    """The due time of a record passed: a waiting retry, the job's deadline, or the marker's expiry."""

    key: str
    """Key of the state record whose ``due_ms`` passed."""


@value_object(frozen=True, slots=True)
class CancelRequested:
    """Somebody cancelled the job."""

    requested_at_ms: int


@value_object(frozen=True, slots=True)
class Signalled:
    """An outside event for the job."""

    name: str
    payload: Any = None


@value_object(frozen=True, slots=True)
class JobBroke:
    """Something that the job caused cannot be decided or written; the dead letter has the cause."""

    message: str


@value_object(frozen=True, slots=True)
class StateDamaged:
    """A record of the job on ``state`` cannot be read, and is gone."""

    kind: str
    """What it was: ``job``, ``task``, ``input``, ``marker`` or ``workflow``."""
    message: str
    """For the outcome."""


@value_object(frozen=True, slots=True)
class DispatchGranted:
    """The dispatch window gave the job room for some tasks of a step."""

    step: str
    count: int


@value_object(frozen=True, slots=True)
class ClosingResumed:
    """There is time to tombstone some more records of a finished job."""

    limit: int = 256


Event = (
    JobSubmitted
    | JobRefused
    | TaskSucceeded
    | TaskFailed
    | TaskLost
    | TaskRedriven
    | TimerFired
    | CancelRequested
    | Signalled
    | JobBroke
    | StateDamaged
    | DispatchGranted
    | ClosingResumed
)

"""What the orchestrator is to do. Imperative; the shell turns effects into records of one transaction."""

from __future__ import annotations

from dataclasses import field

from headrace.schemas.messages import AttemptNote, Control, Event, ObjectRef, Result, Submission, Task
from headrace.schemas.task_form import TaskForm
from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class DispatchTask:
    """Write a task to ``tasks.<pool>.<lane>``, keyed by its id."""

    task: Task
    key: str
    """The record's key: decides the partition."""
    trace: tuple[tuple[str, bytes], ...] = ()
    after: str = ""
    """The error kind of the attempt before, for the metric."""
    cause: str = ""
    """Why the attempt before was interrupted, where it was: this one may be paid for a second time."""
    form: TaskForm | None = field(default=None, compare=False, repr=False)
    """What it has in common with the others of its grant, so that they are encoded at less cost."""


@value_object(frozen=True, slots=True)
class EmitOutcome:
    """Write the outcome to the job's home partition of ``outcomes``, as a CloudEvent."""

    job_id: str
    status: str
    value: bytes
    """The encoded outcome, byte for byte what the marker keeps."""
    at_ms: int
    """Time of the outcome, the same on every repetition."""
    repeat: bool = False
    """Whether this answers a repeated submission."""
    trace: tuple[tuple[str, bytes], ...] = ()

    @property
    def ce_id(self) -> str:
        """One id for each job, so that readers can deduplicate."""
        return f"{self.job_id}/outcome"


@value_object(frozen=True, slots=True)
class SubmitNested:
    """Write a submission of a nested job, or a cancel for it, to its home partition of ``jobs``."""

    job_id: str
    submission: Submission
    trace: tuple[tuple[str, bytes], ...] = ()


@value_object(frozen=True, slots=True)
class AnswerParent:
    """Write what a nested job came to, as the result of its parent's task, to the parent's home on ``results``."""

    parent_id: str
    result: Result
    trace: tuple[tuple[str, bytes], ...] = ()


@value_object(frozen=True, slots=True)
class EmitEvent:
    """Write to the job's home partition of ``events``, as a CloudEvent."""

    event: Event
    ce_id: str


@value_object(frozen=True, slots=True)
class PublishControl:
    """Write a standing order to ``control``; None lifts it."""

    subject: str
    control: Control | None


@value_object(frozen=True, slots=True)
class StoreObject:
    """Write content to the object store before the transaction begins; content-addressed, so repeats are harmless."""

    ref: ObjectRef
    data: bytes


@value_object(frozen=True, slots=True)
class SetAside:
    """Write the record that caused this event to ``dead-letters``; the shell knows its origin."""

    reason: str
    message: str


@value_object(frozen=True, slots=True)
class SetTaskAside:
    """Write a task that failed for good to ``dead-letters``, as it was last dispatched, with what was tried."""

    reason: str
    """``exhausted`` or ``quarantined``."""
    message: str
    task: Task
    history: tuple[AttemptNote, ...] = ()
    redrives: int = 0
    """How often an operator sent it back."""


@value_object(frozen=True, slots=True)
class Ignore:
    """Count an event that changes nothing: a repeated result, a result of a finished job, a late timer."""

    reason: str


Effect = (
    DispatchTask
    | EmitOutcome
    | SubmitNested
    | AnswerParent
    | EmitEvent
    | PublishControl
    | StoreObject
    | SetAside
    | SetTaskAside
    | Ignore
)

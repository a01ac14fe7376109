"""How a job goes on and ends: events, the outcome, and its receipt."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from headrace.schemas.base import Message, ObjectRef
from headrace.schemas.calls import Failure, Usage
from headrace.schemas.errors import ErrorKind


class JobStatus(StrEnum):
    """How a job ended. Closed."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class Unconfirmed(Message):
    """Attempts of which nobody knows whether the provider did and billed them: lost, interrupted, or timed out."""

    attempts: int = 0
    """How many."""
    tokens: int = 0
    """What they took at most, where an upper bound is known."""
    cost_microusd: int = 0
    """What they cost at most, where an upper bound is known."""


class PoolReceipt(Message):
    """What a job used of one pool."""

    tasks: int = 0
    """Tasks that ended there."""
    attempts: int = 0
    """Attempts that ended there."""
    usage: Usage = Usage()
    """Tokens."""
    cost_microusd: int = 0
    """Money."""
    unconfirmed: Unconfirmed = Unconfirmed()
    """Attempts of unknown fate; not part of ``usage`` and ``cost_microusd``."""
    call_ms: int = 0
    """Time spent in calls, summed over calls that ran side by side."""
    models: tuple[str, ...] = ()
    """The models that answered (at most 16 are named)."""


class PatternReceipt(Message):
    """What a step that decides as it goes has to tell."""

    to: str = ""
    """The branch that was taken."""
    escalations: int = 0
    """How often the next pool was asked, since an answer was not accepted or did not come."""
    saved_microusd: int = 0
    """What the last pool would have cost for the same tokens, less what was spent; negative where it was a loss."""
    saved_calls: int = 0
    """Calls that were not made, since the others had decided."""
    planned: int = 0
    """How many tasks a plan had."""
    compensated: int = 0
    """How many calls of a saga were undone."""
    uncompensated: int = 0
    """How many could not be undone."""
    turns: int = 0
    """How often an agent's model was asked."""
    tool_calls: int = 0
    """How many calls of tools it made."""
    refused_calls: int = 0
    """How many it asked for that were not made: of other tools, with arguments that do not hold, or too many."""
    rounds: int = 0
    """How many drafts were written."""
    accepted: bool | None = None
    """Whether the answer was found good."""


class StepReceipt(Message):
    """What became of one step."""

    tasks: int = 0
    """Tasks of the step."""
    failed: int = 0
    """Tasks that failed for good."""
    truncated: int = 0
    """Answers that ended at ``max_output_tokens``."""
    repairs: int = 0
    """Attempts that showed the model a wrong answer and what is wrong with it."""
    started_ms: int | None = None
    """When its first task was dispatched, or it ran."""
    finished_ms: int | None = None
    """When it was complete."""
    template_hash: str = ""
    """Hash of its template."""
    skipped: bool = False
    """Its condition did not hold."""
    pattern: PatternReceipt | None = None
    """Of a step that decides as it goes: what came of that."""


class Receipt(Message):
    """What a job did and what it cost."""

    tasks: int = 0
    """Tasks that ended."""
    attempts: int = 0
    """Attempts that ended."""
    usage: Usage = Usage()
    """Tokens, summed."""
    cost_microusd: int = 0
    """Money, summed."""
    unconfirmed: Unconfirmed = Unconfirmed()
    """Attempts of unknown fate, summed; a budget counts them at their upper bound."""
    overrun_tokens: int = 0
    """Tokens above what was set aside for the attempts: the provider counted more than the bound allows."""
    overrun_microusd: int = 0
    """Money above what was set aside for the attempts: the provider counted more than the bound allows."""
    duplicated: int = 0
    """Attempts that were made because an earlier one of the same task was interrupted or lost."""
    call_ms: int = 0
    """Time spent in calls, summed over calls that ran side by side."""
    pools: dict[str, PoolReceipt] = Field(default_factory=dict)
    """By pool."""
    steps: dict[str, StepReceipt] = Field(default_factory=dict)
    """By step."""


class FailedItem(Message):
    """An item that failed for good."""

    task_id: str
    """Its task."""
    failure: Failure
    """Why."""


class Outcome(Message):
    """How a job ended, on ``outcomes``: exactly one ``ce_id`` for each job."""

    job_id: str
    """The job."""
    status: JobStatus
    """How it ended."""
    reason: ErrorKind | None = None
    """Why, where it did not succeed."""
    message: str = ""
    """The reason for people."""
    partial: bool = False
    """A step's ``require`` let items fail."""
    output: Any = None
    """The workflow's output."""
    output_ref: ObjectRef | None = None
    """The output as a claim check (of its JSON)."""
    so_far: dict[str, Any] | None = None
    """What a job that ended early has: outputs by step; of a fan-out its items, null where there is none."""
    so_far_ref: ObjectRef | None = None
    """The same as a claim check (of its JSON)."""
    so_far_cut: bool = False
    """There is more than ``so_far`` shows."""
    failed_items: tuple[FailedItem, ...] = ()
    """Items that failed for good; the first hundred."""
    failed_items_total: int = 0
    """How many failed for good."""
    workflow: str = ""
    """``name@version``."""
    tenant: str = "default"
    """Whose job it was."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The job's labels."""
    submitted_at_ms: int = 0
    """When the submission was written to ``jobs``."""
    finished_at_ms: int = 0
    """When the job ended."""
    receipt: Receipt = Receipt()
    """What it did and what it cost."""


class Event(Message):
    """Progress, on ``events``: on the happy path one for each step, not for each task."""

    job_id: str
    """The job."""
    type: str
    """``job.accepted``, ``step.started``, ``step.finished``, ``task.retried``, ``job.finished``, …"""
    at_ms: int
    """When."""
    step: str | None = None
    """The step, where there is one."""
    data: dict[str, Any] = Field(default_factory=dict)
    """What else there is to say."""

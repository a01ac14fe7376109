"""The messages that cross Kafka. `Submission` is the public contract; the others are what Headrace writes.

Times are milliseconds since the epoch (``*_ms``) except where a producer writes them: there they are RFC 3339.
Money is whole micro-US-dollars. What a producer writes is closed (an unknown field is refused, with a suggestion);
what Headrace reads of itself is open, so that a newer process may add fields during a rolling deploy.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from headrace.schemas.errors import ErrorKind

MAX_LABELS = 32


class Message(BaseModel):
    """Base of the messages that Headrace writes and reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Lane(StrEnum):
    """How urgent a task is to the workers of its pool."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Sensitivity(StrEnum):
    """Who may see the payload."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


class Budget(BaseModel):
    """What a job may spend."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    microusd: int | None = Field(default=None, ge=0)
    """Money, in micro-US-dollars."""
    tokens: int | None = Field(default=None, ge=0)
    """Input and output tokens together."""


class Submission(BaseModel):
    """What a producer writes to ``jobs``: a job, or a cancel or signal for one. Plain JSON, from any client."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["job", "cancel", "signal"] = "job"
    """What is asked for."""
    job_id: str | None = None
    """The idempotency key. Without it the record's key counts, and without a key ``j-<partition>-<offset>``."""
    workflow: str | dict[str, Any] | None = None
    """``name@version``, ``name`` (the newest version), or a whole workflow."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The workflow's input, checked against its schema."""
    tenant: str = Field(default="default", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:-]+$")
    """Whose job it is; tenants take turns."""
    lane: Lane = Lane.BATCH
    """``interactive`` goes before ``batch``."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Within a lane and a tenant, higher first."""
    deadline: AwareDatetime | None = None
    """After this moment the job ends as ``expired``; RFC 3339 with a time zone."""
    budget: Budget | None = None
    """What the job may spend."""
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    """Confidential payloads never reach a public pool."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=MAX_LABELS)
    """Free labels that come back on the outcome."""
    name: str | None = Field(default=None, max_length=100)
    """The name of a signal."""
    payload: Any = None
    """The content of a signal."""


class ObjectRef(Message):
    """A claim check: content that is too large to travel inline."""

    key: str
    """Where it lies in the object store: ``sha256/<hex>``."""
    size_bytes: int
    """Its size."""
    sha256: str
    """Its checksum, checked on every read."""


class ChatMessage(Message):
    """One message of a prompt, already rendered."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said."""


class LlmCall(Message):
    """Everything a worker needs for one model call; it needs no workflow."""

    messages: tuple[ChatMessage, ...]
    """The prompt."""
    max_output_tokens: int | None = None
    """The most the model may write."""
    temperature: float | None = None
    """Sampling temperature; left to the provider where it is None."""
    top_p: float | None = None
    """Nucleus sampling; left to the provider where it is None."""
    seed: int | None = None
    """Sampling seed, where the provider has one."""
    stop: tuple[str, ...] = ()
    """Texts at which the model stops."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema that the answer must hold; the output is then the parsed JSON."""


class Task(Message):
    """One call for one worker, on ``tasks.<pool>.<lane>``."""

    task_id: str
    """``<job>/<step>/<index>``."""
    job_id: str
    """The job it belongs to."""
    step: str
    """The step it belongs to."""
    attempt: int
    """Which attempt this is, from 1."""
    kind: Literal["call", "repair"] = "call"
    """``repair``: the same call once more with the error shown; counted and paid as an attempt of its own."""
    pool: str
    """The pool that is to do it."""
    lane: Lane
    """The lane it travels in."""
    reply_partition: int
    """The partition of ``results`` that the result must be written to."""
    tenant: str = "default"
    """Whose job it is."""
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    """Who may see the payload."""
    workflow: str = ""
    """``name@version``, for logs and metrics."""
    template_hash: str = ""
    """Hash of the step's template, for the receipt and the audit."""
    timeout_ms: int
    """How long the call may take, from its start."""
    not_after_ms: int | None = None
    """The last moment at which a worker may start the call."""
    dispatched_at_ms: int = 0
    """When the orchestrator decided to dispatch it."""
    call: LlmCall | None = None
    """The call itself, or None where it travels as a reference."""
    call_ref: ObjectRef | None = None
    """The call as a claim check."""


class Usage(Message):
    """Tokens of one or many calls. ``input_tokens`` includes what the cache read and wrote."""

    input_tokens: int = 0
    """All tokens of the prompt."""
    cached_tokens: int = 0
    """Of these, read from the provider's cache."""
    cache_write_tokens: int = 0
    """Of these, written to the provider's cache."""
    output_tokens: int = 0
    """All tokens of the answer, reasoning included."""
    reasoning_tokens: int = 0
    """Of these, spent on reasoning."""


class Failure(Message):
    """Why something failed."""

    kind: ErrorKind
    """The closed list of reasons."""
    message: str
    """For people; without prompts and without secrets."""
    retry_after_ms: int | None = None
    """The provider's own wish, in milliseconds."""


class Result(Message):
    """What became of one attempt, on ``results``."""

    task_id: str
    """The task."""
    job_id: str
    """Its job."""
    attempt: int
    """The attempt that this answers."""
    failure: Failure | None = None
    """None where the call succeeded."""
    output: Any = None
    """The answer: text, or parsed JSON where the step has an output schema."""
    output_ref: ObjectRef | None = None
    """The answer as a claim check (of its JSON)."""
    truncated: bool = False
    """The answer ended at ``max_output_tokens``."""
    finish_reason: str = ""
    """The provider's own word for why it stopped."""
    usage: Usage = Usage()
    """Tokens, as the provider counted them."""
    cost_microusd: int = 0
    """What the attempt cost by the pool's prices."""
    model: str = ""
    """The model that answered, in the provider's words."""
    endpoint: str = ""
    """The endpoint that answered, as the pools file names it."""
    pool: str = ""
    """The pool that worked on it."""
    worker: str = ""
    """The worker that worked on it."""
    call_ms: int = 0
    """How long the call itself took."""


class JobStatus(StrEnum):
    """How a job ended. Closed."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


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
    call_ms: int = 0
    """Time spent in calls, summed over calls that ran side by side."""
    models: tuple[str, ...] = ()
    """The models that answered (at most 16 are named)."""


class StepReceipt(Message):
    """What became of one step."""

    tasks: int = 0
    """Tasks of the step."""
    failed: int = 0
    """Tasks that failed for good."""
    truncated: int = 0
    """Answers that ended at ``max_output_tokens``."""
    started_ms: int | None = None
    """When its first task was dispatched, or it ran."""
    finished_ms: int | None = None
    """When it was complete."""
    template_hash: str = ""
    """Hash of its template."""


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


class Attempt(Message):
    """The start or the end of one provider call, on ``attempts.<pool>``: journal, audit, and cost."""

    task_id: str
    """The task."""
    attempt: int
    """Which attempt, from 1."""
    phase: Literal["started", "ended"]
    """Which end of the call this is."""
    at_ms: int
    """When."""
    worker: str
    """The worker that made the call."""
    result: Result | None = None
    """The answer, at the end."""


class Control(Message):
    """A standing order to every process, on ``control``; a tombstone lifts it."""

    subject: str
    """``job/<id>``, ``pool/<name>`` or ``endpoint/<id>``."""
    action: Literal["cancel", "pause"]
    """What to do."""
    at_ms: int
    """When it was ordered."""
    reason: str = ""
    """Why."""


class Origin(Message):
    """Where a record came from."""

    topic: str
    """Topic."""
    partition: int
    """Partition."""
    offset: int
    """Offset."""


class DeadLetter(Message):
    """A record that could not be read or done, with its cause, on ``dead-letters``."""

    reason: str
    """A short name: ``invalid_json``, ``unknown_field``, ``job_conflict``, ``unknown_task``, …"""
    message: str
    """What is wrong and what to do about it."""
    errors: tuple[str, ...] = ()
    """The chain of causes, outermost first."""
    origin: Origin
    """Where the record was read."""
    at_ms: int
    """When it was set aside."""
    by: str
    """The process that set it aside."""
    job_id: str | None = None
    """The job, where it is known."""
    key_base64: str | None = None
    """The record's key, as it was."""
    value_base64: str | None = None
    """The record's value, as it was (cut at 700,000 bytes; ``value_bytes`` has the true size)."""
    value_bytes: int = 0
    """The size of the value."""
    headers: tuple[tuple[str, str], ...] = ()
    """The record's headers, values in base64."""
    redrives: int = 0
    """How often it was sent back already."""

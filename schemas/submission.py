"""What a producer writes to ``jobs``: the public contract. Closed: an unknown field is refused, with a suggestion."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from headrace.schemas.base import Lane, ObjectRef, Sensitivity
from headrace.schemas.errors import ContractError
from headrace.schemas.ids import TASK_ID
from headrace.schemas.object_keys import KEY_PATTERN, MAX_KEY_LENGTH, MAX_OBJECT_BYTES, check_object_key

MAX_LABELS = 32
MAX_AMOUNT = 10**15
"""Of money and tokens: a billion US dollars, and sums of many stay within 64 bits."""
LabelName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
LabelText = Annotated[str, StringConstraints(max_length=1_000)]
WorkflowName = Annotated[str, StringConstraints(max_length=200)]
MAX_PART_BYTES = MAX_OBJECT_BYTES
MAX_PARTS = 2_000
MAX_ITEMS = 1_000_000
"""Of one job, and of one step: ids and records are bounded with it."""
MAX_JOB_BYTES = 16_777_216
"""Largest input of a job, as canonical JSON; and largest item."""


class Budget(BaseModel):
    """What a job may spend."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    microusd: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Money, in micro-US-dollars."""
    tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Input and output tokens together."""


class RedriveMessage(BaseModel):
    """One message of an edited prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said, as it goes to the model."""


class Redrive(BaseModel):
    """What a redrive puts in place of the task's own; the ``payload`` of its submission."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pool: str | None = Field(default=None, max_length=100)
    """Another pool to do it."""
    messages: tuple[RedriveMessage, ...] | None = Field(default=None, min_length=1, max_length=1_000)
    """Another prompt."""


class ItemsPart(BaseModel):
    """One object of JSON Lines: some of a job's items, in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    key: str = Field(max_length=MAX_KEY_LENGTH, pattern=KEY_PATTERN)
    """Where it lies below the root of the object store; `headrace submit --items` takes ``sha256/<hex>``."""
    size_bytes: int = Field(ge=1, le=MAX_PART_BYTES)
    """Its size. A part is read as a whole when its first item is dispatched, so this bounds the memory of a job."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Its checksum, checked on every read."""
    items: int = Field(ge=1, le=MAX_ITEMS)
    """How many lines it has."""

    @property
    def ref(self) -> ObjectRef:
        """The part as a claim check."""
        return ObjectRef(key=self.key, size_bytes=self.size_bytes, sha256=self.sha256)


class ItemsRef(BaseModel):
    """A list that is too long to travel inline: JSON Lines in the object store, read as it is dispatched."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    parts: tuple[ItemsPart, ...] = Field(min_length=1, max_length=MAX_PARTS)
    """In the order of the items."""

    @property
    def total(self) -> int:
        """How many items there are in all parts."""
        return sum(part.items for part in self.parts)


class ParentRef(BaseModel):
    """The task that a nested job is the work of. Headrace writes it; a job's id must be the one that goes with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    task_id: str = Field(max_length=300, pattern=rf"^{TASK_ID.pattern}$")
    """``<parent job>/<step>/<index>``."""
    attempt: int = Field(ge=1, le=1_000_000)
    """Which attempt of it."""
    depth: int = Field(ge=1, le=16)
    """How many jobs stand above it."""


class Submission(BaseModel):
    """What a producer writes to ``jobs``: a job, or a cancel, a signal or a redrive for one. Plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["job", "cancel", "signal", "redrive"] = "job"
    """What is asked for. ``redrive``: another attempt of a task that failed for good, while its job runs."""
    job_id: str | None = None
    """The idempotency key. Without it the record's key counts, and without a key ``j-<partition>-<offset>``."""
    workflow: WorkflowName | dict[str, Any] | None = None
    """``name@version``, ``name`` (the newest version), or a whole workflow."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The workflow's input, checked against its schema."""
    input_ref: ObjectRef | None = None
    """The input as a claim check (of its JSON), in place of ``input``."""
    items: ItemsRef | None = None
    """What templates see as ``input.items``, by reference: for lists too long to travel inline."""
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
    labels: dict[LabelName, LabelText] = Field(default_factory=dict, max_length=MAX_LABELS)
    """Free labels that come back on the outcome: names of at most 100 characters, texts of at most 1,000."""
    name: str | None = Field(default=None, max_length=400)
    """The name of a signal; of a redrive: the task's id."""
    payload: Any = None
    """The content of a signal; of a redrive: ``pool`` or ``messages`` to take in place of the task's own."""

    parent: ParentRef | None = None
    """Of a nested job, written by Headrace: where its outcome goes."""

    @model_validator(mode="after")
    def _is_given_once(self) -> Self:
        if self.input_ref is not None:
            if self.input:
                raise ValueError("input and input_ref are both given: leave one out")
            try:
                check_object_key(self.input_ref.key)
            except ContractError as error:
                raise ValueError(f"input_ref: {error.message}: {error.hint}") from None
        if self.items is not None and "items" in self.input:
            raise ValueError("the items are given twice, in input.items and by reference in items: leave one out")
        return self

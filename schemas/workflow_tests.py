"""The test file of a workflow: cases, scripted answers, what is expected. docs/workflows.md explains it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from headrace.schemas.base import Lane, Sensitivity
from headrace.schemas.errors import ErrorKind
from headrace.schemas.outcomes import JobStatus
from headrace.schemas.submission import Budget

MAX_CASES = 2_000
SCRIPTED_KINDS = (
    ErrorKind.RATE_LIMITED,
    ErrorKind.OVERLOADED,
    ErrorKind.TIMEOUT,
    ErrorKind.NETWORK,
    ErrorKind.SERVER_ERROR,
    ErrorKind.INTERRUPTED,
    ErrorKind.MALFORMED_OUTPUT,
    ErrorKind.TRUNCATED,
    ErrorKind.CONTEXT_TOO_LONG,
    ErrorKind.CONTENT_FILTERED,
    ErrorKind.AUTH,
    ErrorKind.BAD_REQUEST,
    ErrorKind.TOO_LARGE,
    ErrorKind.PAYLOAD_LOST,
    ErrorKind.INTERNAL,
)
"""What a worker may report of a call, so what a script may say. The other kinds are the orchestrator's own."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Tokens(_Closed):
    """What a scripted call used, as a provider counts it; the cost follows from the pool's prices."""

    input_tokens: int = Field(default=0, ge=0, le=10**12)
    """All tokens of the prompt."""
    cached_tokens: int = Field(default=0, ge=0, le=10**12)
    """Of these, read from the provider's cache."""
    cache_write_tokens: int = Field(default=0, ge=0, le=10**12)
    """Of these, written to the provider's cache."""
    output_tokens: int = Field(default=0, ge=0, le=10**12)
    """All tokens of the answer, reasoning included."""
    reasoning_tokens: int = Field(default=0, ge=0, le=10**12)
    """Of these, spent on reasoning."""


def _any_value(schema: dict[str, Any]) -> None:
    schema.pop("type", None)


class UseSpec(_Closed):
    """A call of a tool that an agent's model asks for."""

    name: str = Field(max_length=200)
    """The tool; one that the step does not list is refused, as in production."""
    arguments: Any = Field(default_factory=dict)
    """A text as it is, any other value as JSON; ``{last}`` and the like are filled in as in an answer."""


class AnswerSpec(_Closed):
    """What one call is answered. In a list of answers, a text, a number or a list stands for ``{answer: …}``."""

    model_config = ConfigDict(json_schema_extra=_any_value)

    answer: Any = None
    """A text as it is, any other value as JSON. In a text, ``{last}`` is the last message of the prompt, ``{1}`` the
    first group of the rule's ``prompt``, ``{index}`` and ``{attempt}`` the task's. Missing: the last message, or a
    value that holds the step's ``output`` schema."""
    tool_calls: tuple[UseSpec, ...] = Field(default=(), max_length=64)
    """Calls of tools that an agent's model asks for in this turn; they go out as tasks and are answered like any."""
    error: str | None = Field(default=None, json_schema_extra={"enum": [*SCRIPTED_KINDS, None]})
    """The call fails with this error kind."""
    message: str = Field(default="", max_length=1_000)
    """What the failure says."""
    retry_after_ms: int | None = Field(default=None, ge=0, le=86_400_000)
    """The wait that a failing provider asks for."""
    truncated: bool = False
    """The answer ended at ``max_output_tokens``."""
    usage: Tokens | None = None
    """Tokens; missing: a token for four characters of prompt and answer, and none where the call fails."""
    takes_ms: int | None = Field(default=None, ge=0, le=86_400_000)
    """How long the call takes, in virtual time: one that takes longer than its timeout is a ``timeout``. Missing: 1 to
    100, drawn from the seed."""
    result: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the message ``Result``, for what a kind of step reads beside the output."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value if isinstance(value, dict | BaseModel) else {"answer": value}


class RuleSpec(AnswerSpec):
    """Which calls are answered how. The first rule that fits a call answers it."""

    model_config = ConfigDict(json_schema_extra={})

    step: str | None = None
    """Calls of this step."""
    pool: str | None = None
    """Calls of this pool."""
    prompt: str | None = None
    """Calls in whose messages, joined by line breaks, this regular expression is found. Of a tool: in its arguments."""
    index: int | None = Field(default=None, ge=0)
    """The task of this number, from 0: the item, the node, the round."""
    attempt: int | None = Field(default=None, ge=1)
    """This attempt of a task, from 1."""
    times: int | None = Field(default=None, ge=1)
    """Only the first so many calls that fit."""
    in_order: tuple[AnswerSpec, ...] = Field(default=(), max_length=10_000)
    """One answer for each task that fits, in the order of dispatch; a task keeps its answer over all its attempts, and
    the rule fits no more tasks than it has answers."""
    attempts: tuple[AnswerSpec, ...] = Field(default=(), max_length=1_000)
    """One answer for each attempt of a task; the last one goes for all that follow."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value


def _or_number(schema: dict[str, Any]) -> None:
    schema["type"] = ["object", "integer"]


class Amount(_Closed):
    """A number, or bounds of one: ``3``, ``{at_least: 2}``, ``{at_most: 500}``."""

    model_config = ConfigDict(json_schema_extra=_or_number)

    at_least: int | None = None
    """The least."""
    at_most: int | None = None
    """The most."""

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"at_least": value, "at_most": value}
        if not isinstance(value, dict | BaseModel):
            raise ValueError("use a whole number, or bounds: {at_least: 1, at_most: 3}")
        return value

    def holds(self, number: int) -> bool:
        """Return whether a number lies within."""
        return (self.at_least is None or number >= self.at_least) and (self.at_most is None or number <= self.at_most)

    def __str__(self) -> str:
        if self.at_least == self.at_most:
            return str(self.at_least)
        bounds = ((word, bound) for word, bound in (("at least", self.at_least), ("at most", self.at_most)))
        return " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)


class EventSpec(_Closed):
    """An event that the job must announce."""

    type: str
    """``task.retried``, ``step.finished``, …"""
    step: str | None = None
    """Of this step."""
    data: dict[str, Any] = Field(default_factory=dict)
    """What its data must hold; there may be more."""
    count: Amount = Amount(at_least=1)
    """How many such events there are; 0: none."""


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(json_schema_extra={"type": ["string", "array"]})]


class PromptSpec(_Closed):
    """What rendered prompts must hold: their messages, joined by line breaks. Of a tool: its arguments as JSON."""

    step: str
    """Prompts of this step."""
    index: int | None = Field(default=None, ge=0)
    """Of the task of this number; missing: one prompt of the step must hold everything, and none what it ``lacks``."""
    contains: Texts = ()
    """A text that stands in it, or several."""
    lacks: Texts = ()
    """A text that does not, or several."""
    matches: str | None = None
    """A regular expression that is found in it."""


class ExpectSpec(_Closed):
    """What must have come of the job. What is missing is not looked at, but for ``status``."""

    status: str = Field(default=JobStatus.SUCCEEDED.value, json_schema_extra={"enum": list(JobStatus)})
    """How it ended."""
    reason: str | None = Field(default=None, json_schema_extra={"enum": [*ErrorKind, None]})
    """The error kind of a job that did not succeed."""
    message: str | None = None
    """A text that the outcome's message contains."""
    output: Any = None
    """The whole output."""
    output_contains: Any = None
    """A text that the output contains; of a mapping, fields with their values; of a list, an entry."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the output."""
    partial: bool | None = None
    """Whether a step's ``require`` let items fail."""
    tasks: dict[str, Amount] = Field(default_factory=dict)
    """Tasks by step."""
    failed: dict[str, Amount] = Field(default_factory=dict)
    """Tasks that failed for good, by step."""
    attempts: dict[str, Amount] = Field(default_factory=dict)
    """Calls by step, those made again included."""
    cost_microusd: Amount | None = None
    """Money, by the prices of the pools file."""
    tokens: Amount | None = None
    """Input and output tokens together."""
    duration_ms: Amount | None = None
    """Virtual time from the submission to the outcome."""
    events: tuple[EventSpec, ...] = ()
    """Events, in any order."""
    prompts: tuple[PromptSpec, ...] = ()
    """Prompts as they went out."""
    outcome: dict[str, Any] = Field(default_factory=dict)
    """What the message ``Outcome`` must hold, receipt included; there may be more."""


class JobFields(_Closed):
    """What the job says beside its workflow and its input."""

    tenant: str = Field(default="default", min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:-]+$")
    """Whose job it is."""
    lane: Lane = Lane.BATCH
    """``interactive`` or ``batch``."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Within a lane and a tenant, higher first."""
    deadline_s: float | None = Field(default=None, ge=0, le=31_536_000)
    """The deadline, in seconds of virtual time from the submission."""
    budget: Budget | None = None
    """What the job may spend."""
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    """Confidential payloads never reach a public pool."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)
    """Free labels."""


class SignalSpec(_Closed):
    """A signal that comes in while the job runs."""

    name: str = Field(min_length=1, max_length=200)
    """As the step that waits for it names it."""
    payload: Any = None
    """What it brings."""
    after_ms: int = Field(default=0, ge=0, le=31_536_000_000)
    """When it comes, in virtual time from the submission."""


class CaseSpec(_Closed):
    """One job and what must come of it."""

    name: str = Field(min_length=1, max_length=200)
    """A sentence: what is tested. No other case of the file has the same."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The job's input."""
    input_file: str | None = Field(default=None, min_length=1, max_length=1_000)
    """In its place: a JSON or YAML file, from the test file's folder."""
    job: JobFields = JobFields()
    """What else the job says."""
    answers: tuple[RuleSpec, ...] = Field(default=(), max_length=10_000)
    """What calls are answered; a call that no rule fits is answered with its last message, or with a value that holds
    its schema."""
    signals: tuple[SignalSpec, ...] = Field(default=(), max_length=1_000)
    """What steps that wait are told."""
    cancel_after_ms: int | None = Field(default=None, ge=0, le=31_536_000_000)
    """The job is cancelled after so much virtual time."""
    expect: ExpectSpec = ExpectSpec()
    """What must come of it."""


class WorkflowTests(_Closed):
    """The whole file: ``NAME.tests.yaml`` beside the workflow ``NAME.yaml``."""

    workflow: str | None = Field(default=None, min_length=1, max_length=1_000)
    """The workflow's file, from the test file's folder; missing: the file that the test file is named after."""
    pools: str | None = Field(default=None, min_length=1, max_length=1_000)
    """The pools file with prices, from the test file's folder; missing: every pool that is named is there and costs
    nothing."""
    nested: tuple[str, ...] = Field(default=(), max_length=200)
    """Files of the workflows that this one nests, from the test file's folder."""
    answers: tuple[RuleSpec, ...] = Field(default=(), max_length=10_000)
    """Rules for all cases, after each case's own."""
    cases: tuple[CaseSpec, ...] = Field(min_length=1, max_length=MAX_CASES)
    """The cases."""


def schema_of_tests() -> dict[str, Any]:
    """Return the JSON Schema of test files, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorkflowTests.model_json_schema()}

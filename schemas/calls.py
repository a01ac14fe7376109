"""One call for one worker, and what became of it: tasks, results, and the journal of attempts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from headrace.schemas.base import Lane, Message, ObjectRef, Sensitivity
from headrace.schemas.errors import ErrorKind

MAX_COUNT = 1 << 53
MAX_WRONG_ANSWER = 4_000
"""Characters of an answer that did not hold its schema: it stands in its task's record until the next attempt ends."""
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""What a worker counted: a negative number would be money out of nothing, and a larger one is no number in JSON."""


MAX_TOOL_USES = 64
"""Of one answer: a model that asks for more calls of tools at once is not understood."""


class ToolUse(Message):
    """A call of a tool that a model asks for."""

    id: str = ""
    """What the call's answer refers to; empty in an answer of a model: the orchestrator names the calls."""
    name: str
    """The tool, in the model's words."""
    arguments: str
    """Its arguments, as the model wrote them: JSON, if all is well."""


class ToolOffer(Message):
    """A tool that a model may ask for."""

    name: str
    """The tool, as the pools file calls it."""
    description: str = ""
    """What it does."""
    arguments: dict[str, Any]
    """JSON Schema of its arguments."""


class ChatMessage(Message):
    """One message of a prompt, already rendered."""

    role: Literal["system", "user", "assistant", "tool"]
    """Who speaks."""
    content: str
    """What is said."""
    tool_calls: tuple[ToolUse, ...] = ()
    """Of the assistant: the calls that it asked for."""
    tool_call_id: str = ""
    """Of a tool: the call that it answers."""


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
    logprobs: bool = False
    """Whether the result is to say how sure the model was."""
    tools: tuple[ToolOffer, ...] = ()
    """Tools that the model may ask for. Where there are any, the output is a turn (`runtime.turns`): an object of
    ``content``, the answer, and ``tool_calls``, what is asked for."""
    tool_choice: Literal["auto", "none"] = "auto"
    """``none``: it is told of the tools, since it asked for some before, and is to answer now."""


class ToolCall(Message):
    """Everything a worker needs for one call of a tool; it needs no workflow.

    Its idempotency key is not written: a worker makes it of the task's id (`workers.tools.base.key_of`).
    """

    tool: str
    """The tool, as the pools file calls it."""
    arguments: dict[str, Any]
    """Its arguments, which hold the tool's schema."""


class Examples(Message):
    """What texts of one route look like."""

    route: str
    """Its name."""
    texts: tuple[str, ...]
    """Example utterances."""


class EmbedCall(Message):
    """Everything a worker of a pool that serves embeddings needs for one call.

    Alone, the texts come back as vectors. With examples, what comes back is how near each text is to each route: the
    worker embeds the examples once and keeps them, so that no vector of theirs crosses Kafka (ADR 27).
    """

    texts: tuple[str, ...]
    """What is to be embedded."""
    examples: tuple[Examples, ...] = ()
    """The routes that each text is compared with; none: vectors are asked for."""
    examples_ref: ObjectRef | None = None
    """The examples as a claim check (their JSON list), where they are too large to travel inline."""


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
    """The last moment at which a worker may start the call; the rule of lost tasks rests on it."""
    dispatched_at_ms: int = 0
    """When the orchestrator decided to dispatch it."""
    call: LlmCall | None = None
    """The model call itself, or None where it travels as a reference or is one of a tool."""
    call_ref: ObjectRef | None = None
    """The call as a claim check: in a pool of tools a `ToolCall`, in one that serves embeddings an `EmbedCall`, in
    another an `LlmCall`."""
    tool: ToolCall | None = None
    """The call of a tool itself, in place of `call`."""
    embed: EmbedCall | None = None
    """In place of `call`, in a pool that serves embeddings."""


class Usage(Message):
    """Tokens of one or many calls. ``input_tokens`` includes what the cache read and wrote."""

    input_tokens: Count = 0
    """All tokens of the prompt."""
    cached_tokens: Count = 0
    """Of these, read from the provider's cache."""
    cache_write_tokens: Count = 0
    """Of these, written to the provider's cache."""
    output_tokens: Count = 0
    """All tokens of the answer, reasoning included."""
    reasoning_tokens: Count = 0
    """Of these, spent on reasoning."""


class Failure(Message):
    """Why something failed."""

    kind: ErrorKind
    """The closed list of reasons."""
    message: str
    """For people; without prompts and without secrets."""
    retry_after_ms: int | None = None
    """The provider's own wish, in milliseconds."""


class Nested(Message):
    """What a nested job's receipt adds to its parent's beside usage and cost."""

    attempts: Count = 0
    """Attempts of its tasks."""
    unconfirmed_attempts: Count = 0
    """Of these, those of which nobody knows whether the provider did and billed them."""
    unconfirmed_tokens: Count = 0
    """What these may have used at most."""
    unconfirmed_microusd: Count = 0
    """What these may have cost at most."""


class Result(Message):
    """What became of one attempt, on ``results``."""

    task_id: str
    """The task."""
    job_id: str
    """Its job."""
    attempt: Count
    """The attempt that this answers."""
    failure: Failure | None = None
    """None where the call succeeded."""
    output: Any = None
    """The answer: text, or parsed JSON where the step has an output schema; a turn where the call offers tools."""
    output_ref: ObjectRef | None = None
    """The answer as a claim check (of its JSON)."""
    wrong_answer: str = ""
    """Of ``malformed_output``: what the model said, cut, for an attempt that shows it what is wrong with it."""
    truncated: bool = False
    """The answer ended at ``max_output_tokens``."""
    finish_reason: str = ""
    """The provider's own word for why it stopped."""
    confidence: float | None = None
    """How sure the model was: e to the mean log-probability of the answer's tokens; None where it is not known."""
    usage: Usage = Usage()
    """Tokens, as the provider counted them."""
    cost_microusd: Count = 0
    """What the attempt cost by the pool's prices."""
    model: str = ""
    """The model that answered, in the provider's words."""
    endpoint: str = ""
    """The endpoint that answered, as the pools file names it."""
    pool: str = ""
    """The pool that worked on it."""
    worker: str = ""
    """The worker that worked on it."""
    call_ms: Count = 0
    """How long the call itself took."""
    unconfirmed: bool = False
    """The call was begun and nobody knows whether the provider did it and billed it."""
    cause: Literal["", "kill", "stop"] = ""
    """Why an ``interrupted`` attempt ended: its worker died, or stopped."""
    nested: Nested | None = None
    """Of a task that is a nested job; no worker sends it."""
    journalled: bool = False
    """Answered from the journal of an earlier delivery, without a call."""


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
    lane: Lane | None = None
    """The lane in which the task lay."""
    offset: int | None = None
    """The task's offset there, in the partition that has the journal's number."""
    until_ms: int | None = None
    """At the start: when the call ends at the latest."""
    job_id: str = ""
    """The job."""
    tenant: str = "default"
    """Whose job it is."""
    workflow: str = ""
    """``name@version``."""
    template_hash: str = ""
    """Hash of the step's template."""
    result: Result | None = None
    """The answer, at the end; None where the call was given up before it was made."""

"""The workflow language, as far as it goes today. `orchestrator.core.graph` compiles it; docs/workflows.md explains it.

These models say what a document may look like. What must hold between its parts (references, cycles, pools that exist,
templates that compile) is the compiler's to check, so that all problems of a document come in one list.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from headrace.schemas.workflow_agents import AgentSpec
from headrace.schemas.workflow_calls import Closed, LlmSpec, ToolCallSpec
from headrace.schemas.workflow_nesting import NestedSpec
from headrace.schemas.workflow_patterns import CascadeSpec, RefineSpec, RouteSpec, VoteSpec
from headrace.schemas.workflow_plans import PlanSpec
from headrace.schemas.workflow_sagas import MAX_SAGA, SagaEntrySpec
from headrace.schemas.workflow_waits import DefaultValue, WaitSpec

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,99}$"
STEP_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
MAX_STEPS = 200

NOT_YET: dict[str, tuple[str, ...]] = {
    "workflow": ("retention", "on_failure"),
    "step": ("cache",),
    "llm": ("cache", "logprobs"),
    "branch": ("workflow",),
    "allowed": ("workflow",),
}
"""Words of the language that a later Headrace will know, by where they stand: refused, but not as typing errors."""

ELSEWHERE: dict[str, dict[str, str]] = {
    "workflow": {"budget": "it stands on the job"},
    "step": {"otherwise": "it stands within route"},
    "llm": {
        "route": "it is a kind of step: write it in place of llm",
        "cascade": "it is a kind of step: write it in place of llm",
        "tools": "the kind of step that calls tools is agent",
    },
}
"""Words of the language that were written in the wrong place, by where that is, and where they belong."""

PATTERNS: tuple[str, ...] = ("route", "cascade", "vote", "refine", "plan", "agent", "saga")
"""Steps that decide as they go which calls they make."""
CALLS: tuple[str, ...] = ("llm", "tool", "workflow")
"""One call; all go with `for_each` too, `llm` also with `reduce`."""
KINDS: tuple[str, ...] = ("split", "for_each", "reduce", "wait", *PATTERNS, *CALLS)
"""What makes a step."""


class SplitSpec(Closed):
    """How a text is cut into items."""

    source: str = Field(alias="from")
    """What is cut; a template that yields a text."""
    by: Literal["tokens", "characters", "lines", "records"]
    """The unit of `size`."""
    size: int | None = Field(default=None, ge=1, le=10_000_000)
    """The most a chunk holds. Records need none: each is an item, as an object; with a size, items are lists."""
    overlap: int = Field(default=0, ge=0, le=5_000_000)
    """How much of what is before it a chunk begins with at most; part of its size, and at most half of it."""
    format: Literal["auto", "jsonl", "csv"] = "auto"
    """Of records; ``auto`` takes JSON Lines where the text begins with a brace, else CSV with a header."""


class AtLeast(Closed):
    """A number of items must succeed."""

    at_least: int = Field(ge=0, le=10_000_000)
    """How many."""


class Share(Closed):
    """A share of the items must succeed."""

    share: float = Field(ge=0, le=1)
    """Rounded up to whole items."""


class RetryRuleSpec(Closed):
    """How a task is tried again. What is missing is left to the error kind's own default."""

    attempts: int | None = Field(default=None, ge=1, le=100)
    """Attempts in all, the first included."""
    backoff_ms: int | None = Field(default=None, ge=0, le=3_600_000)
    """The base of the exponential backoff."""
    max_backoff_ms: int | None = Field(default=None, ge=0, le=86_400_000)
    """The longest wait."""


class RetrySpec(RetryRuleSpec):
    """How a task is tried again, on errors where another attempt can help; `on` says more for single kinds."""

    on: dict[str, RetryRuleSpec] = Field(default_factory=dict, max_length=32)
    """By error kind, such as ``rate_limited`` or ``timeout``: goes before what stands beside it."""


class StepSpec(Closed):
    """One step: `split`, `llm`, `for_each` with `llm`, `reduce` with `llm` or `with`, or a pattern such as `route`."""

    when: str | None = None
    """A condition, one expression: where it does not hold, the step is skipped and its output is null."""

    llm: LlmSpec | None = None
    """The model call; once, for each item, or for each node of the reducing tree."""
    tool: ToolCallSpec | None = None
    """The call of a tool; once, or for each item."""
    workflow: NestedSpec | None = None
    """Another workflow, as a job of its own; once, or for each item."""
    split: SplitSpec | None = None
    """Cuts a text into items."""
    for_each: str | None = None
    """A step that yields a list, or a template of one expression that does. One task an item."""
    reduce: str | None = None
    """A step that yields a list, or a template of one expression that does. Many values become one."""
    route: RouteSpec | None = None
    """One of several calls, by rules or by a classifier."""
    cascade: CascadeSpec | None = None
    """The smallest model that can do it: pools in order."""
    vote: VoteSpec | None = None
    """One question to several, and one answer of theirs."""
    plan: PlanSpec | None = None
    """A model breaks the work down when the step runs."""
    agent: AgentSpec | None = None
    """A model that calls tools until it has its answer."""
    saga: list[SagaEntrySpec] | None = Field(default=None, min_length=1, max_length=MAX_SAGA)
    """Calls of services one after the other; where one fails, those before it are undone."""
    wait: WaitSpec | None = None
    """An outside event, such as a person's approval."""
    after: list[str] = Field(default_factory=list, max_length=MAX_STEPS)
    """Steps that come first, though no template names them."""
    refine: RefineSpec | None = None
    """A draft, its evaluation, another draft with the feedback, and so on."""
    fan_in: int | None = Field(default=None, ge=2, le=1_000)
    """The most inputs of one reducing call; 8 where it is missing."""
    reducer: str | None = Field(default=None, alias="with")
    """A reducer that needs no model: ``concat``, ``count``, ``mean``, ``majority``, ``merge_objects``."""
    require: Literal["all"] | AtLeast | Share = "all"
    """How many items must succeed."""
    retry: RetrySpec = RetrySpec()
    """How tasks are tried again."""
    timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    """How long a call may take, from its start; the pool's own time where it is missing."""
    on_error: Literal["fail", "skip"] | DefaultValue = "fail"
    """What a failure for good does: fail the job, stand as null, or stand as a default value."""
    max_in_flight: int | None = Field(default=None, ge=1, le=100_000)
    """The most tasks of this step that wait or run at workers."""
    sensitivity: Literal["confidential", "public"] | None = None
    """``confidential``: its tasks are, whatever the job says; ``public``: what it yields is not, whatever it reads."""
    key: Literal["spread", "session", "prefix"] = "spread"
    """Which tasks go one after the other (``session``), or to the same partitions (``prefix``)."""


class WorkflowSpec(Closed):
    """A whole workflow."""

    name: str = Field(pattern=NAME_PATTERN)
    """Lower-case letters, digits and hyphens."""
    version: int = Field(ge=1, le=2**31)
    """A new text is a new version."""
    description: str = Field(default="", max_length=10_000)
    """For people."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """Of a version on trial: its share of the jobs that name no version; the newest without a share gets the others."""
    sensitivity: Literal["confidential"] | None = None
    """Every step is confidential."""
    input: dict[str, Any] = Field(default_factory=dict)
    """JSON Schema of the input, checked on submission; ``x-confidential: true`` marks a field."""
    steps: dict[str, StepSpec] = Field(min_length=1, max_length=MAX_STEPS)
    """The steps by name. A reference is a dependency, so their order is free."""
    output: Any = None
    """A template, or a mapping or list of templates; the output of the last step where it is missing."""


def language_schema() -> dict[str, Any]:
    """Return the JSON Schema of the language, for editors."""
    schema = WorkflowSpec.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["steps"]["propertyNames"] = {"pattern": STEP_PATTERN}
    return schema

"""The steps of a compiled workflow. Values only: `graph.compile_workflow` makes them, `machine` walks them.

Pure: imports nothing that reads a clock, a file, a socket or a random number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headrace.orchestrator.core.llm_plan import LlmPlan, MessageTemplate
from headrace.orchestrator.core.nested_plan import NestedPlan
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.plans import PlannedPlan, RoutePlan, Script
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.template_uses import texts_of
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.schemas.base import Sensitivity
from headrace.schemas.errors import ErrorKind

__all__ = [
    "KeyRule",
    "LlmPlan",
    "MessageTemplate",
    "OnError",
    "OnErrorMode",
    "Require",
    "RetryPolicy",
    "RetryRule",
    "RetryRules",
    "Source",
    "SplitPlan",
    "Step",
    "StepKind",
    "WaitPlan",
]


class StepKind(StrEnum):
    """What a step does."""

    LLM = "llm"
    SPLIT = "split"
    FOR_EACH = "for_each"
    REDUCE = "reduce"
    ROUTE = "route"
    CASCADE = "cascade"
    VOTE = "vote"
    WAIT = "wait"
    REFINE = "refine"
    PLAN = "plan"
    AGENT = "agent"
    SAGA = "saga"
    TOOL = "tool"
    WORKFLOW = "workflow"


class KeyRule(StrEnum):
    """How a task is keyed on its topic."""

    SPREAD = "spread"
    SESSION = "session"
    PREFIX = "prefix"


class OnErrorMode(StrEnum):
    """What a step that failed for good does to its job."""

    FAIL = "fail"
    SKIP = "skip"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class OnError:
    """What becomes of an item (of `for_each`) or a step that failed for good."""

    mode: OnErrorMode = OnErrorMode.FAIL
    """``fail``: a single step fails its job, an item counts against `Require`; ``skip``: an item is left out of the
    outputs, a single step's output is null; ``default``: the output is `value`."""
    value: Any = None
    """The output that stands in, for ``default``."""


@dataclass(frozen=True, slots=True)
class Require:
    """How many items must succeed."""

    at_least: int | None = None
    """A number of items; None where the share counts."""
    share: float = 1.0
    """A share of the items, in (0, 1]; 1.0 is ``all``."""

    def needed(self, count: int) -> int:
        """Return how many of `count` items must succeed; more than there are can never be asked for by a share.

        The share is rounded up: 95 % of 10 items are 10. Shares are taken as written in decimal (0.07 of 100 is 7,
        not the 8 that binary floating point would make of it).
        """
        if self.at_least is not None:
            return self.at_least
        millionths = round(self.share * 1_000_000)
        return -(-count * millionths // 1_000_000)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a task is tried, and how long it waits in between."""

    attempts: int
    """Attempts in all, the first included."""
    backoff_ms: int
    """The base of the exponential backoff."""
    max_backoff_ms: int
    """The longest wait."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """What a step says about retries; what it leaves out is left to the error kind's default."""

    attempts: int | None = None
    """Attempts in all, the first included."""
    backoff_ms: int | None = None
    """The base of the exponential backoff."""
    max_backoff_ms: int | None = None
    """The longest wait."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Everything that a step says about retries; `retry.policy_for` makes a policy of it."""

    general: RetryRule = RetryRule()
    """For every kind where another attempt can help."""
    on: Mapping[ErrorKind, RetryRule] = field(default_factory=dict)
    """For single kinds."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the items of `for_each` and `reduce` come from: a step, or an expression that yields a list."""

    step: str | None = None
    """The name of a step that yields a list; None where it is an expression."""
    expression: str | None = None
    """A template of one expression, for `templates.evaluate`; None where it is a step."""


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """Which signal a step waits for. What the end of its time does is the step's `on_error`."""

    signal: str
    """Its name."""
    timeout_ms: int
    """How long, from the step's start."""
    schema: dict[str, Any]
    """JSON Schema of its payload; empty where anything goes."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How a text is cut."""

    text: str
    """A template; what it yields is cut, for `templates.evaluate`."""
    by: str
    """``tokens``, ``characters``, ``lines`` or ``records``."""
    size: int | None
    """The most a chunk holds, in units of `by`; None only for records (one record an item)."""
    overlap: int = 0
    """How much of what is before it a chunk begins with at most, in units of `by`; at most half of `size`."""
    format: str = "auto"
    """Of records: ``jsonl``, ``csv``, or ``auto`` (JSON Lines where the text begins with a brace)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the graph."""

    name: str
    """Its name, an identifier."""
    kind: StepKind
    """What it does."""
    needs: tuple[str, ...] = ()
    """The steps it references, in topological order: it starts when all of them are complete."""
    source: Source | None = None
    """Where its items come from; for `for_each` and `reduce` only."""
    llm: LlmPlan | None = None
    """The call it makes; None for `split`, for pure reducers, and for scripted steps."""
    tool: ToolPlan | None = None
    """The tool it calls, once or for each item."""
    nested: NestedPlan | None = None
    """The workflow that it runs as a job of its own, once or for each item."""
    script: Script | None = None
    """What a scripted step does: its tasks and their calls are decided as it goes (`core.scripts`)."""
    when: str | None = None
    """A condition, for `templates.evaluate`: where it does not hold, the step is skipped."""
    split: SplitPlan | None = None
    """How it cuts; for `split` only."""
    wait: WaitPlan | None = None
    """What it waits for; for `wait` only."""
    reducer: str | None = None
    """The pure reducer it runs (`aggregate.apply_reducer`); None where a model reduces."""
    fan_in: int = 8
    """The most inputs of one reducing call."""
    require: Require = field(default_factory=Require)
    """How many items must succeed."""
    retry: RetryRules = field(default_factory=RetryRules)
    """How its tasks are tried again."""
    timeout_ms: int | None = None
    """How long a call may take; None leaves it to the pool."""
    on_error: OnError = field(default_factory=OnError)
    """What becomes of it when it failed for good."""
    max_in_flight: int | None = None
    """The most tasks of this step on the task topics; None leaves it to the job's window."""
    key: KeyRule = KeyRule.SPREAD
    """How its tasks are keyed."""
    sensitivity: Sensitivity | None = None
    """What it says of itself."""
    confidential: bool = False
    """Whether its tasks are confidential whatever the job says."""
    yields_list: bool = False
    """Whether its output is a list kept as one record an entry (`split`, `for_each`), not one value."""
    template_hash: str = ""
    """SHA-256 of the step's canonical text, 16 hex digits; on every task and on the receipt."""

    @property
    def makes_tasks(self) -> bool:
        """Whether it needs workers; the others are computed where they stand."""
        return any(each is not None for each in (self.llm, self.script, self.tool, self.nested))

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every model call that it may make."""
        if self.script is not None:
            return self.script.calls
        return () if self.llm is None else (self.llm,)

    @property
    def model_pools(self) -> tuple[str, ...]:
        """The pool of every call of a model, of one that embeds included; each once."""
        semantic = self.script.semantic if isinstance(self.script, RoutePlan) else None
        compared = () if semantic is None else (semantic.pool,)
        return tuple(dict.fromkeys((*compared, *(call.pool for call in self.calls))))

    @property
    def tools(self) -> tuple[ToolPlan, ...]:
        """Every call of a tool that it may make."""
        if isinstance(self.script, RoutePlan | PlannedPlan | AgentPlan | SagaPlan):
            return self.script.tools
        return () if self.tool is None else (self.tool,)

    @property
    def script_name(self) -> str:
        """The key under which its script stands; empty where it has none."""
        return self.kind.value if self.script is not None else ""

    def texts(self) -> Iterator[str]:
        """Yield every template that is rendered with the step's context."""
        for call in self.calls:
            for message in call.messages:
                yield message.content
        if self.script is not None:
            yield from self.script.conditions
        if self.tool is not None:
            yield from texts_of(self.tool.arguments)
        if self.nested is not None:
            yield from self.nested.texts
        if self.when is not None:
            yield self.when

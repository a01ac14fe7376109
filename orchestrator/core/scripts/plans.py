"""What scripted steps are compiled to. Values only: `script_compiler` makes them, the kinds' modules play them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.semantic import SemanticPlan
from headrace.orchestrator.core.tool_plan import ToolPlan, arguments_of

Callee = LlmPlan | ToolPlan
"""What may be called where a document says ``llm`` or ``tool``."""
UNSURE = "unsure"
"""What a classifier answers that cannot tell."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a route."""

    when: str
    """A template of one expression."""
    to: str
    """The branch that is taken where it holds."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One of several calls."""

    branches: dict[str, Callee | None]
    """By name; None: the branch's name is the answer."""
    otherwise: str
    """The branch where nothing else decides."""
    rules: tuple[Rule, ...] = ()
    """The first that holds decides."""
    classifier: LlmPlan | None = None
    """Asked where no rule holds."""
    labels: dict[str, str] | None = None
    """Branches that the classifier may name, each with what belongs there."""
    at_least: float | None = None
    """The classifier's least confidence."""
    semantic: SemanticPlan | None = None
    """Compared where no rule holds, before the classifier."""
    remember_s: int | None = None
    """For how many seconds a session keeps what the classifier named; None: it keeps nothing."""

    def keeps(self, branch: str | None) -> bool:
        """Return whether a session may keep a branch: one that the classifier names, and not for want of another."""
        return self.remember_s is not None and branch != UNSURE and branch in (self.labels or {})

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        return tuple(call for call in (self.classifier, *self.branches.values()) if isinstance(call, LlmPlan))

    @property
    def tools(self) -> tuple[ToolPlan, ...]:
        """Every call of a tool that may be made."""
        return tuple(call for call in self.branches.values() if isinstance(call, ToolPlan))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        semantic = () if self.semantic is None else (self.semantic.text,)
        return (*(rule.when for rule in self.rules), *semantic, *arguments_of(self.tools))

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return 1 + (self.classifier is not None) + (self.semantic is not None)


@dataclass(frozen=True, slots=True)
class Tier:
    """One rung of a cascade."""

    name: str
    """Its pool, or its pools joined by ``+``."""
    calls: tuple[LlmPlan, ...]
    """What goes out side by side; on the last rung one."""


@dataclass(frozen=True, slots=True)
class CascadePlan:
    """Pools in order, and what is accepted of all but the last."""

    tiers: tuple[Tier, ...]
    """At least two."""
    schema: dict[str, Any] | None = None
    """JSON Schema that an answer must hold."""
    confidence: float | None = None
    """The least confidence."""
    agreement: int | None = None
    """How many answers of a rung must be the same."""
    compare: str | None = None
    """What of an answer is compared: an expression over ``answer``."""
    judge: LlmPlan | None = None
    """The call that gives an answer its score."""
    judge_at_least: float = 0.0
    """The least score."""

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        judges = () if self.judge is None else (self.judge,)
        return (*(call for tier in self.tiers for call in tier.calls), *judges)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        return () if self.compare is None else (self.compare,)

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        judges = 0 if self.judge is None else len(self.tiers) - 1
        return sum(len(tier.calls) for tier in self.tiers) + judges


class Pick(StrEnum):
    """How a vote comes to one answer."""

    MAJORITY = "majority"
    FIRST_VALID = "first_valid"
    MERGE = "merge"
    BEST_OF = "best_of"


@dataclass(frozen=True, slots=True)
class VotePlan:
    """One question to several."""

    voters: tuple[LlmPlan, ...]
    """At least two."""
    pick: Pick
    """What is made of their answers."""
    quorum: int
    """Votes that decide a majority."""
    strict: bool = False
    """Whether fewer than the quorum do not: it was asked for."""
    as_needed: bool = False
    """Whether no more are asked at a time than are missing for the quorum."""
    compare: str | None = None
    """What of an answer is compared: an expression over ``answer``."""
    judge: LlmPlan | None = None
    """The call that says which of some answers is the best."""
    merge: LlmPlan | None = None
    """The call that makes one of all."""

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        return (*self.voters, *(call for call in (self.judge, self.merge) if call is not None))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        return () if self.compare is None else (self.compare,)

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return len(self.voters) + (self.judge is not None or self.merge is not None)


@dataclass(frozen=True, slots=True)
class RefinePlan:
    """Drafts and their evaluations, by turns."""

    generate: LlmPlan
    """Writes a draft."""
    evaluate: LlmPlan
    """Says whether it is accepted, and what is wrong with it."""
    max_rounds: int
    """The most drafts."""
    best: bool = False
    """Whether the draft with the highest score is kept where none was accepted; else the last."""
    at_least: float | None = None
    """The least score of an accepted draft."""

    @property
    def scores(self) -> bool:
        """Whether an evaluation has a score."""
        return self.best or self.at_least is not None

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        return (self.generate, self.evaluate)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        return ()

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return 2 * self.max_rounds


@dataclass(frozen=True, slots=True)
class AllowedCall:
    """What a planned task of one name does."""

    call: Callee
    """The call."""
    args: dict[str, Any]
    """JSON Schema of its arguments."""
    description: str
    """What it is good for."""


@dataclass(frozen=True, slots=True)
class PlannedPlan:
    """Work that a model breaks down."""

    planner: LlmPlan
    """Writes the plan."""
    repair: LlmPlan
    """The same, with what is wrong with the first."""
    allowed: dict[str, AllowedCall]
    """What may be planned, by name."""
    max_tasks: int
    """The most tasks of a plan."""
    max_depth: int
    """The longest chain of tasks that need each other."""

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        allowed = (each.call for each in self.allowed.values() if isinstance(each.call, LlmPlan))
        return (self.planner, self.repair, *allowed)

    @property
    def tools(self) -> tuple[ToolPlan, ...]:
        """Every call of a tool that may be made."""
        return tuple(each.call for each in self.allowed.values() if isinstance(each.call, ToolPlan))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        return arguments_of(self.tools)

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return 2 + self.max_tasks


Script = RoutePlan | CascadePlan | VotePlan | RefinePlan | PlannedPlan | AgentPlan | SagaPlan

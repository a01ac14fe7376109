"""What scripted steps are compiled to. Values only: `script_compiler` makes them, the kinds' modules play them."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.orchestrator.core.llm_plan import LlmPlan

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

    branches: dict[str, LlmPlan | None]
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

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call that may be made."""
        return tuple(call for call in (self.classifier, *self.branches.values()) if call is not None)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts."""
        return tuple(rule.when for rule in self.rules)

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return 2


Script = RoutePlan

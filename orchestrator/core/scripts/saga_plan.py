"""What a saga is compiled to. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.tool_plan import ToolPlan, arguments_of


@dataclass(frozen=True, slots=True)
class SagaEntry:
    """One call of a saga."""

    name: str
    tool: ToolPlan
    """What is done."""
    compensate: ToolPlan | None
    """What undoes it."""


@dataclass(frozen=True, slots=True)
class SagaPlan:
    """Calls in order, and what undoes them."""

    entries: tuple[SagaEntry, ...]
    """At least one."""

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """A saga calls no model."""
        return ()

    @property
    def tools(self) -> tuple[ToolPlan, ...]:
        """Every tool call that may be made."""
        both = ((entry.tool, entry.compensate) for entry in self.entries)
        return tuple(tool for pair in both for tool in pair if tool is not None)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The templates of its calls' arguments."""
        return arguments_of(self.tools)

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return len(self.tools)

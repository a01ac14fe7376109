"""What an agent is compiled to. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.tool_plan import ToolPlan


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """A model that calls tools until it has its answer."""

    turn: LlmPlan
    """Asks the model; its messages begin the conversation."""
    last: LlmPlan
    """The same, where no tool may be called any more."""
    allowed: dict[str, ToolPlan]
    """The tools that it may call, by name; their arguments are the model's."""
    max_turns: int
    """How often the model is asked at most."""
    max_calls: int
    """The most calls of tools in all."""
    max_parallel: int
    """The most calls of tools of one turn."""
    answer_characters: int
    """What the model sees of a tool's answer."""

    @property
    def calls(self) -> tuple[LlmPlan, ...]:
        """Every call of a model that may be made."""
        return (self.turn, self.last)

    @property
    def tools(self) -> tuple[ToolPlan, ...]:
        """Every call of a tool that may be made."""
        return tuple(self.allowed.values())

    @property
    def conditions(self) -> tuple[str, ...]:
        """Templates beside the calls' prompts: a model's arguments are none."""
        return ()

    @property
    def most_calls(self) -> int:
        """The most tasks that a step of it has."""
        return self.max_turns + self.max_calls

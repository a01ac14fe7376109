"""A call of a tool in a compiled workflow, not yet rendered. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.template_uses import texts_of


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """One call of a tool."""

    name: str
    """The tool, as the pools file calls it."""
    pool: str
    """The pool whose workers run it; empty where the tools were not known to the compiler."""
    arguments: dict[str, Any]
    """A structure of templates, for `templates.evaluate_structure`."""
    schema: dict[str, Any] = field(default_factory=dict)
    """JSON Schema of the arguments: checked before dispatch."""
    repeatable: bool = False
    """Whether a call that may have been made can be made again without harm."""
    public: bool = True
    """Whether it lies outside: confidential payloads never go there."""
    timeout_ms: int | None = None
    """How long a call may take where the step says nothing."""
    price_microusd: int = 0
    """What one call costs."""


def arguments_of(tools: Iterable[ToolPlan]) -> tuple[str, ...]:
    """Return the templates of the arguments of some calls."""
    return tuple(text for tool in tools for text in texts_of(tool.arguments))

"""A model call of a compiled workflow, not yet rendered. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headrace.schemas.messages import ToolOffer


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """One message of a prompt, not yet rendered."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str
    """The template's source, for `templates.render`."""


@dataclass(frozen=True, slots=True)
class LlmPlan:
    """One model call, not yet rendered."""

    pool: str
    """The pool whose workers make it."""
    messages: tuple[MessageTemplate, ...]
    """The prompt; ``prompt`` and ``system`` are already turned into messages."""
    temperature: float | None = None
    """Left to the provider where it is None."""
    top_p: float | None = None
    """Left to the provider where it is None."""
    seed: int | None = None
    """Left to the provider where it is None."""
    stop: tuple[str, ...] = ()
    """Texts at which the model stops."""
    max_output_tokens: int | None = None
    """The most the model may write."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the answer."""
    logprobs: bool = False
    """Whether the result is to say how sure the model was."""
    tools: tuple[ToolOffer, ...] = ()
    """Tools that the model may ask for; its output is then a turn (`runtime.turns`)."""
    tool_choice: Literal["auto", "none"] = "auto"
    """``none``: it is told of the tools, and may ask for none."""

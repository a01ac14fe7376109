"""Steps in which a model calls tools. Part of `schemas.workflow`. docs/workflows.md shows them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headrace.schemas.tools import TOOL_PATTERN
from headrace.schemas.workflow_calls import LlmSpec

MAX_TURNS = 32
MAX_CALLS = 64
MAX_OFFERED = 128
"""What providers take."""


class AgentSpec(LlmSpec):
    """A model that calls tools in a loop: as `llm`, and the tools that it may ask for."""

    tools: list[Annotated[str, Field(pattern=TOOL_PATTERN)]] = Field(min_length=1, max_length=MAX_OFFERED)
    """The tools, as the pools file calls them. The model sees these, and a call of any other is refused."""
    max_turns: int = Field(default=8, ge=2, le=MAX_TURNS)
    """How often the model is asked at most; in the last turn it is to answer."""
    max_calls: int = Field(default=32, ge=1, le=MAX_CALLS)
    """The most calls of tools in all."""
    max_parallel: int = Field(default=8, ge=1, le=32)
    """The most calls of tools of one turn, which go out side by side."""
    answer_characters: int = Field(default=8_000, ge=100, le=100_000)
    """What the model sees of a tool's answer at most; what is cut off is said."""

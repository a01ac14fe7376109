"""Steps whose work a model breaks down when they run. Part of `schemas.workflow`. docs/workflows.md shows them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headrace.schemas.workflow_calls import Closed, LlmSpec, ToolCallSpec

MAX_PLANNED = 64


class AllowedSpec(Closed):
    """What a planned task of one name does."""

    description: str = Field(default="", max_length=2_000)
    """What it is good for; the planner's prompt knows it as ``allowed.NAME``."""
    args: dict[str, Any] | None = None
    """JSON Schema of its arguments; where it is missing, ``{instructions: TEXT}``."""
    llm: LlmSpec | None = None
    """The call; its templates know ``args``, ``needs`` (the outputs of the tasks that it needs) and ``index``."""
    tool: ToolCallSpec | None = None
    """In its place: a call of a tool; its arguments know the same."""


class PlanSpec(LlmSpec):
    """A model breaks the work down, and its tasks are done: those that need nothing of each other side by side."""

    allowed: dict[str, AllowedSpec] = Field(min_length=1, max_length=20)
    """What may be planned, by name."""
    max_tasks: int = Field(default=16, ge=1, le=MAX_PLANNED)
    """The most tasks of a plan."""
    max_depth: int = Field(default=4, ge=1, le=16)
    """The longest chain of tasks that need each other."""

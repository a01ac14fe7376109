"""A workflow as a step of another. Part of `schemas.workflow`. docs/workflows.md shows it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headrace.schemas.submission import Budget
from headrace.schemas.workflow_calls import Closed

MAX_DEPTH = 3
"""How deep workflows nest: a job, its children, theirs, and theirs."""


class NestedSpec(Closed):
    """Another workflow, as a job of its own whose output is the step's; by `name`, or written out in `inline`."""

    name: str | None = Field(default=None, max_length=200)
    """``name@version``. The version is part of this workflow's text, so it must be said."""
    inline: dict[str, Any] | None = None
    """The whole workflow; its own `name` and `version` may be left out."""
    input: dict[str, Any] = Field(default_factory=dict)
    """Its input: a mapping of templates."""
    budget: Budget | None = None
    """What it may spend, within what is left; where it is missing, an equal share of what is left."""

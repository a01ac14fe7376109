"""Steps that undo what they did. Part of `schemas.workflow`. docs/workflows.md shows them."""

from __future__ import annotations

from pydantic import Field

from headrace.schemas.workflow_calls import Closed, ToolCallSpec

MAX_SAGA = 32


class SagaEntrySpec(Closed):
    """One call of a saga, and what undoes it."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    """Its name: later entries' templates know its output by it, and so does its own compensation."""
    tool: ToolCallSpec
    """What is done."""
    compensate: ToolCallSpec | None = None
    """What undoes it; nothing where there is nothing to undo."""

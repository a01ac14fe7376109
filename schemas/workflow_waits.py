"""Steps that wait for somebody outside. Part of `schemas.workflow`. docs/workflows.md shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from headrace.schemas.workflow_calls import Closed

MAX_WAIT_S = 31_622_400
"""A year: a state record and a timer are all that a waiting job costs."""
SIGNAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"


class DefaultValue(Closed):
    """A value in place of an output that could not be had."""

    default: Any
    """The value, as it is; not a template."""


class WaitSpec(Closed):
    """An outside event: a person's approval, another system's answer."""

    signal: str = Field(pattern=SIGNAL_PATTERN)
    """Its name; each wait of a workflow has its own."""
    timeout_s: float = Field(gt=0, le=MAX_WAIT_S)
    """How long the step waits, from its start."""
    on_timeout: Literal["fail", "skip"] | DefaultValue = "fail"
    """What the end of that time does: fail the job, stand as null, or stand as a default value."""
    payload: dict[str, Any] | None = Field(default=None, alias="schema")
    """JSON Schema of what the signal brings. One that does not fit is set aside, and the step waits on."""

"""Where a nested job belongs."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Parent:
    """The task that a job is the work of."""

    task_id: str
    """``<parent job>/<step>/<index>``."""
    attempt: int
    """Which attempt of it."""
    depth: int
    """How many jobs stand above it."""

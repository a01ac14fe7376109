"""What an operator put in place of a task's own when he sent it back."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class TaskEdit:
    """The edit of one task, kept in its record."""

    pool: str | None = None
    messages: tuple[tuple[str, str], ...] | None = None
    """Role and content; None leaves the step's own."""

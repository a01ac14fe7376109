"""The record of a session: its jobs that have steps in turn, in the order in which they were accepted."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Session:
    """One for each session of which a job with such steps runs."""

    jobs: tuple[str, ...]
    """Their ids; the first that runs has the turn."""


def session_key(session: str) -> str:
    """Return the key of a session's record."""
    return f"session/{session}"

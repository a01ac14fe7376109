"""The record of the branch that a session's classifier named."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class KeptRoute:
    """One for each step of a workflow that remembers, from the classifier's answer until its time is over."""

    to: str
    """The branch."""
    due_ms: int
    """When it is forgotten."""


def kept_route_key(session: str, workflow: str, step: str) -> str:
    """Return the key of the branch that a session keeps for a step; `workflow` is a name without a version."""
    return f"routed/{session}/{workflow}/{step}"

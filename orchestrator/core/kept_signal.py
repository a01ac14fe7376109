"""The record of a signal that a step waits for, or will."""

from __future__ import annotations

from typing import Any

from headrace.schemas.messages import ObjectRef
from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class KeptSignal:
    """One for each waiting step of a job, from its start or the signal's arrival to the closing of the job."""

    at_ms: int
    """When the step began to wait, or the signal came."""
    arrived: bool = False
    """Whether the signal came; the first that fits counts."""
    due_ms: int | None = None
    """When the step waits no longer."""
    payload: Any = None
    """What the signal brought."""
    payload_ref: ObjectRef | None = None
    """The same as a claim check, where it is large."""


def signal_key(job_id: str, step: str) -> str:
    """Return the key of the signal that a step waits for."""
    return f"signal/{job_id}/{step}"

"""A record of a job on ``state`` cannot be read: its job ends, once, whatever is left of it."""

from __future__ import annotations

from headrace.orchestrator.core.effects import Ignore
from headrace.orchestrator.core.events import StateDamaged
from headrace.orchestrator.core.outcome import end_job, end_unknown
from headrace.orchestrator.core.state import Marker, Phase, marker_key
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus


def damaged(turn: Turn, event: StateDamaged) -> None:
    """End the job as ``failed``, ``internal``, unless it is over already. The record itself is gone."""
    header = turn.header_or_none()
    if header is not None and header.phase is Phase.RUNNING:
        end_job(turn, JobStatus.FAILED, ErrorKind.INTERNAL, event.message, at_once=True)
    elif event.kind == "marker":
        _keep_place(turn)
    elif event.kind == "job" and header is None and turn.marker() is None:
        end_unknown(turn, event.message)
    else:
        turn.effect(Ignore("job_over"))


def _keep_place(turn: Turn) -> None:
    """Remember that a job ended: its outcome went out once, and a repeated submission must not run again."""
    due = turn.now_ms + turn.environment.limits.retention_ms
    turn.put(marker_key(turn.job_id), Marker("", "", "", turn.now_ms, due, cancelled=True))

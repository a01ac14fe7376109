"""Turns of a session (ADR 28): of jobs whose ids begin with the same ``SESSION::`` and that have steps with ``key:
session``.

The job that was accepted first has the turn until it has ended, and of its steps with that key one task at a time is
out or waits for its retry. Every other step of every job goes on as if there were no session.
"""

from __future__ import annotations

from headrace.orchestrator.core.session_record import Session, session_key
from headrace.orchestrator.core.state import JobHeader, Phase, job_key
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.ids import session_of
from headrace.schemas.messages import Failure

MAX_TURNS = 64
"""Jobs of one session that run or wait: its record is written with each of them."""


def join(turn: Turn) -> Failure | None:
    """Put the turn's job behind those of its session, or return why it cannot be."""
    session = session_of(turn.job_id)
    assert session is not None, "admission has refused a job without a session"
    key = session_key(session)
    jobs = _running(turn, turn.record(key))
    if len(jobs) >= MAX_TURNS:
        message = f"{len(jobs)} jobs of session {session[:80]} run or wait: submit it when some of them have ended"
        return Failure(kind=ErrorKind.INVALID_JOB, message=message)
    turn.put(key, Session((*jobs, turn.job_id)))
    if jobs:
        turn.announce("session.joined", session=session, ahead=len(jobs))
    return None


def leave(turn: Turn) -> None:
    """Take the turn's job, which ends, out of its session: the next one has the turn."""
    session = session_of(turn.job_id)
    if session is None:
        return
    record = turn.record(key := session_key(session))
    if isinstance(record, Session) and turn.job_id in record.jobs:
        left = tuple(job for job in _running(turn, record) if job != turn.job_id)
        turn.put(key, Session(left) if left else None)


def has_turn(turn: Turn) -> bool:
    """Return whether a task of the job's steps with ``key: session`` may go out now.

    A job that the session's record does not name is not kept waiting: the record was lost, and nobody would wake it.
    """
    names = turn.graph.in_turn
    if any(state.live or state.retrying for name, state in turn.header.steps if name in names):
        return False
    session = session_of(turn.job_id)
    record = turn.record(session_key(session)) if session is not None else None
    if not isinstance(record, Session) or turn.job_id not in record.jobs:
        return True
    return next(job for job in record.jobs if job == turn.job_id or _runs(turn, job)) == turn.job_id


def _running(turn: Turn, record: object) -> tuple[str, ...]:
    return tuple(job for job in record.jobs if _runs(turn, job)) if isinstance(record, Session) else ()


def _runs(turn: Turn, job_id: str) -> bool:
    header = turn.record(job_key(job_id))
    return isinstance(header, JobHeader) and header.phase is Phase.RUNNING

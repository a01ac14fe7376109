"""Sessions: of all jobs of one, one task in turn is out or waits at a time, and jobs begin as they were accepted."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.orchestrator.core.state import JobHeader, Phase
from headrace.schemas.ids import session_of
from tests.simulation.history import History

IN_TURN = ("reply", "kept")
"""The steps of `tests.simulation.sessions` that are."""


def turns(history: History) -> Iterator[str]:
    """Follow the headers of jobs in sessions through all committed transactions."""
    running: dict[str, dict[str, JobHeader]] = {}
    begun: dict[str, None] = {}
    for each in history.committed:
        touched: dict[str, None] = {}
        for _, key, record in each.state:
            job_id = key.removeprefix("job/")
            session = session_of(job_id) if key.startswith("job/") else None
            if session is None:
                continue
            touched[session] = None
            jobs = running.setdefault(session, {})
            if isinstance(record, JobHeader) and record.phase is Phase.RUNNING:
                jobs[job_id] = record
            else:
                jobs.pop(job_id, None)
        for session in touched:
            yield from _one_at_a_time(session, running[session], begun)


def _one_at_a_time(session: str, jobs: dict[str, JobHeader], begun: dict[str, None]) -> Iterator[str]:
    """Look at one session as a transaction leaves it; its jobs stand in the order in which they were accepted."""
    out = {job_id: sum(_open(header, name) for name in IN_TURN) for job_id, header in jobs.items()}
    if sum(out.values()) > 1:
        yield f"session {session} has {out} tasks in turn at a time"
    for place, (job_id, header) in enumerate(jobs.items()):
        if job_id in begun or not any(header.step(name).next for name in IN_TURN):
            continue
        begun[job_id] = None
        if before := list(jobs)[:place]:
            yield f"{job_id} began its turn before {before[0]}, which was accepted earlier, had ended"


def _open(header: JobHeader, name: str) -> int:
    state = header.step(name)
    return state.live + state.retrying

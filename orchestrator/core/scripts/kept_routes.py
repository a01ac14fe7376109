"""Branches that a session keeps, so that a step's classifier is asked once for a conversation.

Looked up where the step begins, and noted with its counters: what another job of the session decides since, and when
the branch is forgotten, changes nothing about a step that runs. Jobs of a session have one home: the record lies there.
"""

from __future__ import annotations

from headrace.orchestrator.core.kept_route import KeptRoute, kept_route_key
from headrace.orchestrator.core.scripts.plans import RoutePlan
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.ids import session_of


def kept_branch(turn: Turn, step: Step) -> str | None:
    """Return the branch that the session of the turn's job keeps for a step that begins; None where it keeps none."""
    if not isinstance(step.script, RoutePlan) or step.script.remember_s is None:
        return None
    key = _key(turn, step)
    record = turn.record(key) if key is not None else None
    # The timer that deletes it may be late.
    return record.to if isinstance(record, KeptRoute) and record.due_ms > turn.now_ms else None


def keep(turn: Turn, step: Step, branch: str) -> None:
    """Let the session of the turn's job keep a branch, where the job has one; it takes the place of an older one."""
    key = _key(turn, step)
    if key is not None and isinstance(step.script, RoutePlan) and step.script.remember_s is not None:
        turn.put(key, KeptRoute(branch, turn.now_ms + 1_000 * step.script.remember_s))


def _key(turn: Turn, step: Step) -> str | None:
    session = session_of(turn.job_id)
    return None if session is None else kept_route_key(session, turn.graph.name, step.name)

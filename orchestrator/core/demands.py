"""What a job wants to dispatch, and what it has out, by step and pool."""

from __future__ import annotations

from collections import Counter

from headrace.orchestrator.core.dispatch import ready_count, room
from headrace.orchestrator.core.payloads import InputBroken, PayloadLost
from headrace.orchestrator.core.state import StepState, StepStatus, TaskStatus
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.task_calls import next_calls, plain_pool, pool_of
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.window import Demand


def demands_of(turn: Turn, step: Step, state: StepState) -> list[Demand]:
    """Return a step's demands.

    Raises:
        DependencyUnavailable: what they rest on cannot be read now.
    """
    if (pool := plain_pool(step)) is not None:
        return [Demand(step.name, pool, state.live, _ready(turn, step))]
    return [] if step.script is None else _scripted(turn, step, state)


def _ready(turn: Turn, step: Step) -> int:
    try:
        return ready_count(turn, step, room(turn, step))
    except (InputBroken, PayloadLost):
        return 1  # The grant comes upon it too, and ends the job.


def _scripted(turn: Turn, step: Step, state: StepState) -> list[Demand]:
    """A script has few tasks, which may go to many pools; those of a step that ended early still count."""
    ready = _ready(turn, step) if state.status is StepStatus.RUNNING else 0
    try:
        live = Counter(
            pool_of(turn, step, index, record)
            for index in range(state.next)
            if (record := turn.task(step.name, index)) is not None and record.status is TaskStatus.LIVE
        )
        first = next_calls(turn, step, state.next)[0].pool if ready else ""
    except (InputBroken, PayloadLost):
        return [Demand(step.name, _any_pool(step), state.live, ready)]
    pools = dict.fromkeys((*live, first) if ready else live)
    return [Demand(step.name, pool, live[pool], ready if pool == first else 0) for pool in pools]


def _any_pool(step: Step) -> str:
    """Return a pool of a scripted step, where it cannot be told which is next."""
    return (*step.model_pools, *(tool.pool for tool in step.tools))[0]

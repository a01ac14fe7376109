"""A job that would end while a saga runs: it ends when what the saga did is undone."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.job_ending import Ending
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.state import StepStatus, TaskRecord, TaskStatus
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus


def running_sagas(turn: Turn) -> list[Step]:
    """Return the sagas that have begun and are not over."""
    graph = turn.graph_or_none
    if graph is None or not graph.undoes:
        return []
    return [
        step
        for step in graph.steps
        if isinstance(step.script, SagaPlan) and turn.step_state(step.name).status is StepStatus.RUNNING
    ]


def may_go(turn: Turn, step: Step) -> bool:
    """Return whether a step may still send tasks: of a job that ends only its sagas do."""
    return turn.header.ending is None or isinstance(step.script, SagaPlan)


def wind_down(turn: Turn, sagas: list[Step], *, status: JobStatus, reason: ErrorKind | None, message: str) -> None:
    """Put off a job's end. A call that has not gone out goes out no more; one that is out is waited for."""
    for step in sagas:
        state = turn.step_state(step.name)
        for index in range(state.next, state.total):
            failure = Failure(kind=ErrorKind.CANCELLED, message="its job ended before the call")
            turn.put_task(step.name, index, TaskRecord(TaskStatus.FAILED, 0, turn.now_ms, failure=failure))
            turn.set_step(step.name, turn.step_state(step.name).moved(next=1, failed=1))
    begun = tuple((step.name, turn.step_state(step.name).total) for step in sagas)
    ending = Ending(status.value, reason.value if reason else None, message[:2_000], begun)
    turn.header = replace(turn.header, ending=ending, blocked=False)
    turn.announce("job.ending", status=status.value, sagas=[step.name for step in sagas])

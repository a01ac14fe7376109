"""Every event in every state of a job is decided, or refused with a reason: a table of all pairs."""

from __future__ import annotations

from typing import Any

from headrace.orchestrator.core.acceptance import content_hash
from headrace.orchestrator.core.effects import Ignore, SetAside
from headrace.orchestrator.core.events import (
    CancelRequested,
    ClosingResumed,
    DispatchGranted,
    JobBroke,
    JobRefused,
    JobSubmitted,
    Signalled,
    TaskLost,
    TaskRedriven,
    TimerFired,
)
from headrace.orchestrator.core.state import job_key, marker_key
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Submission, Task
from tests.property.test_laws import LIMITS, _event, workflow
from tests.world import World, echo


def test_every_event_in_every_state_is_decided_or_refused_with_a_reason() -> None:
    """Eight states of a job and its task, times every event: no exception, and no silent nothing."""
    handled = 0
    for prepare in STATES:
        for make in EVENTS:
            world = World(limits=LIMITS)
            task = prepare(world)
            decision = world.take("a", make(task, world))
            assert decision.changes or decision.effects, (prepare.__name__, make.__name__)
            handled += 1
            refused = [effect for effect in decision.effects if isinstance(effect, Ignore | SetAside)]
            assert not (refused and decision.changes), "a refusal changes nothing"
    assert handled == len(STATES) * len(EVENTS)


def _submitted(world: World) -> Task:
    world.submit("a", workflow(2, 0.2), {"items": ["x", "y", "z"]})
    world.deal()
    return world.tasks[0]


def unknown(world: World) -> Task:
    return _submitted(World(limits=LIMITS))


def live(world: World) -> Task:
    return _submitted(world)


def retrying(world: World) -> Task:
    task = _submitted(world)
    _fail(world, task, ErrorKind.OVERLOADED)
    return task


def done(world: World) -> Task:
    task = _submitted(world)
    world.result(echo(task))
    return task


def failed(world: World) -> Task:
    task = _submitted(world)
    _fail(world, task, ErrorKind.AUTH)
    return task


def lost(world: World) -> Task:
    task = _submitted(world)
    world.take("a", TaskLost(task.task_id, 1, "", 0.0))
    return task


def closing(world: World) -> Task:
    task = _submitted(world)
    world.take("a", CancelRequested(world.now_ms))
    return task


def over(world: World) -> Task:
    task = closing(world)
    world.close()
    return task


def _fail(world: World, task: Task, kind: ErrorKind) -> None:
    nothing = {"failure": Failure(kind=kind, message="no"), "output": None}
    world.result(echo(task).model_copy(update=nothing))


STATES = (unknown, live, retrying, done, failed, lost, closing, over)


def submitted_again(task: Task, world: World) -> Any:

    document, value = workflow(2, 0.2), {"items": ["x", "y", "z"]}
    submission = Submission(job_id="a", workflow=document, input=value)
    return JobSubmitted(submission, content_hash(document, value), world.now_ms)


def refused(task: Task, world: World) -> Any:

    return JobRefused(ErrorKind.INVALID_JOB, "no", "other", world.now_ms)


def succeeded(task: Task, world: World) -> Any:
    return _event(echo(task))


def failed_again(task: Task, world: World) -> Any:
    return _event(echo(task).model_copy(update={"failure": Failure(kind=ErrorKind.NETWORK, message="no")}))


def lost_again(task: Task, world: World) -> Any:
    return TaskLost(task.task_id, task.attempt, "", 0.0)


def redriven(task: Task, world: World) -> Any:
    return TaskRedriven(task.task_id)


def task_timer(task: Task, world: World) -> Any:
    world.now_ms += 10_000
    return TimerFired(f"task/{task.task_id}")


def job_timer(task: Task, world: World) -> Any:
    return TimerFired(job_key("a"))


def marker_timer(task: Task, world: World) -> Any:
    world.now_ms += LIMITS.retention_ms
    return TimerFired(marker_key("a"))


def cancelled(task: Task, world: World) -> Any:
    return CancelRequested(world.now_ms)


def signalled(task: Task, world: World) -> Any:

    return Signalled("name")


def broke(task: Task, world: World) -> Any:

    return JobBroke("on purpose")


def granted(task: Task, world: World) -> Any:

    return DispatchGranted("first", 1)


def resumed(task: Task, world: World) -> Any:
    return ClosingResumed(10)


EVENTS = (
    *(submitted_again, refused, succeeded, failed_again, lost_again, redriven, task_timer, job_timer, marker_timer),
    *(cancelled, signalled, broke, granted, resumed),
)


def test_the_judges_status_names_are_those_of_the_contract() -> None:
    assert {status.value for status in JobStatus} == {"succeeded", "failed", "cancelled", "expired", "rejected"}

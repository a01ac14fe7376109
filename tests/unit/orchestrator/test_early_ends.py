"""Jobs that end before they are done: what they order, what they say, and what they have to show."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.orchestrator.core.effects import PublishControl
from headrace.orchestrator.core.events import CancelRequested, TimerFired
from headrace.orchestrator.core.state import job_key
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus
from tests.unit.orchestrator.test_machine import FAN, ONE, fan
from tests.world import World, echo


def test_cancel_ends_the_job_and_orders_its_tasks_stopped() -> None:
    world = World()
    world.submit("a", FAN, {"items": list("abc")})
    world.deal()
    decision = world.take("a", CancelRequested(world.now_ms))
    assert any(isinstance(effect, PublishControl) and effect.control for effect in decision.effects)
    world.run()
    assert (world.outcome("a").status, world.outcome("a").reason) == (JobStatus.CANCELLED, ErrorKind.CANCELLED)


def test_a_job_that_ends_early_shows_what_it_has() -> None:
    world = World()
    world.submit("a", FAN, {"items": list("abcde")})
    world.deal()
    for number in (0, 1, 3):
        world.result(echo(next(task for task in world.tasks if task.task_id == f"a/notes/{number}")))
    world.take("a", CancelRequested(world.now_ms))
    outcome = world.outcome("a")
    assert outcome.so_far == {"notes": ["a", "b", None, "d"]}
    assert (outcome.output, outcome.so_far_cut) == (None, False)


def test_what_an_early_end_has_to_show_travels_by_reference_where_it_is_large() -> None:
    world = World(limits=Limits(inline_bytes=2_000))
    world.submit("a", fan(), {"items": ["x" * 1_000] * 9})
    world.deal()
    for task in world.tasks[:8]:
        world.result(echo(task))
    world.take("a", CancelRequested(world.now_ms))
    outcome = world.outcome("a")
    assert outcome.so_far is None
    assert outcome.so_far_ref is not None
    assert world.load(outcome.so_far_ref) == {"notes": ["x" * 1_000] * 8}


def test_a_deadline_ends_the_job() -> None:
    world = World()
    deadline = datetime.fromtimestamp((world.now_ms + 1_000) / 1000, tz=UTC)
    world.submit("a", ONE, {"word": "x"}, deadline=deadline)
    world.deal()
    assert world.tasks[0].not_after_ms == world.now_ms + 1_000
    assert not world.take("a", TimerFired(job_key("a"))).changes, "not yet"
    world.now_ms += 1_000
    world.take("a", TimerFired(job_key("a")))
    assert (world.outcome("a").status, world.outcome("a").reason) == (JobStatus.EXPIRED, ErrorKind.DEADLINE_EXCEEDED)

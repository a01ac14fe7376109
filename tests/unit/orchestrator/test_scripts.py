"""What holds for the tasks of every script: redrive while a stage is open, demands by pool, money of late answers."""

from __future__ import annotations

from headrace.orchestrator.core.effects import SetAside
from headrace.orchestrator.core.events import CancelRequested, TaskLost, TaskRedriven
from headrace.orchestrator.core.machine import channel_of, standing
from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.orchestrator.core.state import TaskRecord, TaskStatus
from headrace.orchestrator.core.told import Told
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus
from tests.answers import refusal, reply, workflow
from tests.world import World

VOTE = {"vote": {"voters": [{"pool": "small"}, {"pool": "large"}, {"pool": "tiny"}], "prompt": "{{ input.q }}"}}
CASCADE = {"cascade": {"pools": ["small", "large"], "prompt": "q", "accept": {"confidence": {"at_least": 0.5}}}}


def started(step: dict) -> World:
    world = World()
    world.submit("j", workflow(step), {"q": "why?"})
    world.deal()
    return world


def test_a_failed_call_can_be_redriven_while_its_stage_is_open() -> None:
    world = started(VOTE)
    one, two, three = world.tasks
    world.tasks = []
    world.result(refusal(one))
    world.take("j", TaskRedriven("j/s/0", None, None, 0))
    assert world.records["task/j/s/0"].status is TaskStatus.RETRYING  # type: ignore[union-attr]
    world.result(reply(two, "a"))
    world.result(reply(three, "b"))
    world.run(lambda task: reply(task, "b"))
    assert world.outcome("j").output == "b"


def test_a_call_that_its_script_went_on_without_stays_failed() -> None:
    world = started(CASCADE)
    world.result(refusal(world.tasks.pop(0)))
    decision = world.take("j", TaskRedriven("j/s/0", None, None, 0))
    assert [effect.reason for effect in decision.effects if isinstance(effect, SetAside)] == ["task_over"]
    assert not decision.changes


def test_what_is_out_counts_in_the_pool_where_it_is() -> None:
    world = World(pool_window=1)
    world.submit("j", workflow(VOTE), {"q": "why?"})
    stood = standing(world.view("j"))
    assert stood is not None
    assert [(demand.pool, demand.live, demand.ready) for demand in stood.demands] == [("small", 0, 1)]
    world.deal()
    stood = standing(world.view("j"))
    assert stood is not None
    assert [(demand.pool, demand.live) for demand in stood.demands] == [("small", 1), ("large", 1), ("tiny", 1)]
    record = world.records["task/j/s/1"]
    assert isinstance(record, TaskRecord)
    assert channel_of(world.view("j"), "s", 1, record)[0] == "large"


def test_a_lost_call_is_made_again_in_its_own_pool() -> None:
    world = started(VOTE)
    world.take("j", TaskLost("j/s/1", 1, "lost", 0.0))
    world.tasks = [task for task in world.tasks if task.task_id != "j/s/1"]
    world.run(lambda task: reply(task, "a" if task.pool != "tiny" else "b"))
    assert [(task.pool, task.attempt) for task in world.dispatched if task.task_id == "j/s/1"] == [
        ("large", 1),
        ("large", 2),
    ]
    assert world.outcome("j").status is JobStatus.SUCCEEDED


def test_a_cancelled_job_shows_what_its_scripts_came_to() -> None:
    world = World()
    after = {"llm": {"pool": "small", "prompt": "{{ s }}"}}
    world.submit("j", workflow(CASCADE, t=after), {"q": "why?"})
    world.deal()
    world.result(reply(world.tasks.pop(0), "small", confidence=0.9))
    world.take("j", CancelRequested(world.now_ms))
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.CANCELLED, ErrorKind.CANCELLED)
    assert outcome.so_far == {"s": "small"}


def test_what_a_script_goes_by_comes_back_from_its_record() -> None:
    told = Told(confidence=0.25, input_tokens=1, cached_tokens=2, output_tokens=3, cost_microusd=4, late=True)
    record = TaskRecord(TaskStatus.DONE, 1, 5, output="x", told=told)
    assert decode_record("task/j/s/0", encode_record(record)) == record

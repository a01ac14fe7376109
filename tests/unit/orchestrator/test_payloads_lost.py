"""Outputs in the object store: read once, waited for where the store is away, and named where they are lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetAside
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import DependencyUnavailable, ErrorKind
from headrace.schemas.messages import JobStatus, Result, Task
from tests.world import World, echo

SMALL = Limits(item_inline_bytes=256)


def two(prompt: str = "{% for n in items %}{{ n | length }},{% endfor %}", **more: Any) -> dict[str, Any]:
    return {
        "name": "two",
        "version": 1,
        "steps": {
            "notes": {"for_each": "{{ input.rows }}", "llm": {"pool": "small", "prompt": "{{ item }}"}},
            "all": {"reduce": "notes", "fan_in": 3, "llm": {"pool": "large", "prompt": prompt}},
        },
        "output": "{{ all }}",
        **more,
    }


def long(count: int) -> dict[str, Any]:
    return {"rows": [str(number) * 300 for number in range(count)]}


def test_a_reduce_reads_each_output_once_and_the_list_as_a_whole_never() -> None:
    world = World(limits=SMALL)
    world.submit("a", two(), long(9))
    world.run()
    assert world.outcome("a").status is JobStatus.SUCCEEDED
    assert len(world.loaded) == len(set(world.loaded)) == 9


def test_an_outcome_of_many_referenced_items_reads_each_once() -> None:
    world = World(limits=SMALL)
    world.submit("a", two(output={"all": "{{ notes }}", "again": "{{ notes }}"}), long(200))
    world.run()
    assert len(world.load(world.outcome("a").output_ref)["again"]) == 200  # type: ignore[arg-type]
    by_key = {key: world.loaded.count(key) for key in world.loaded}
    # Once for the reduce's prompt, once for the outcome: nothing is kept of an item in between.
    assert set(by_key.values()) == {2}


@pytest.mark.parametrize("output", ["{{ notes | length }}", {"n": "{{ notes | count }}"}])
def test_an_outcome_that_only_counts_reads_nothing(output: Any) -> None:
    world = World(limits=SMALL)
    workflow = two(output=output)
    del workflow["steps"]["all"]
    world.submit("a", workflow, long(50))
    world.run()
    assert world.outcome("a").output in (50, {"n": 50})
    assert world.loaded == []


def test_a_count_of_outputs_reads_none_of_them() -> None:
    world = World(limits=SMALL)
    workflow = two()
    workflow["steps"]["all"] = {"reduce": "notes", "with": "count"}
    workflow["steps"]["notes"]["on_error"] = "skip"
    workflow["steps"]["notes"]["require"] = {"at_least": 1}
    world.submit("a", workflow, {"rows": ["x" * 300, "y", {"z": 1}]})
    world.run()
    assert world.outcome("a").output == 3
    assert world.loaded == []


def lose(world: World, number: int, content: bytes | None) -> str:
    key = list(world.objects)[number]
    del world.objects[key]
    if content is not None:
        world.objects[key] = content
    return key


@pytest.mark.parametrize("content", [None, b"other"])
def test_an_output_that_is_lost_fails_the_task_that_reads_it_and_names_the_object(content: bytes | None) -> None:
    world = World(limits=SMALL)
    workflow = two()
    workflow["steps"]["all"]["on_error"] = {"default": "stand-in"}
    world.submit("a", workflow, long(3))
    world.deal()
    for task in world.tasks[:3]:
        world.result(echo(task))
    world.tasks.clear()
    lost = lose(world, 1, content)
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.output, outcome.partial) == (JobStatus.SUCCEEDED, "stand-in", True)
    assert outcome.failed_items[0].failure.kind is ErrorKind.PAYLOAD_LOST
    assert lost in outcome.failed_items[0].failure.message


@pytest.mark.parametrize("content", [None, b"other"])
def test_an_output_that_is_lost_before_the_outcome_fails_the_job_and_stops_nothing(content: bytes | None) -> None:
    world = World(limits=SMALL)
    workflow = two(output="{{ notes }}")
    del workflow["steps"]["all"]
    world.submit("a", workflow, long(3))
    world.deal()
    for task in world.tasks[:2]:
        world.result(echo(task))
    lost = lose(world, 0, content)
    world.result(echo(world.tasks[2]))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.PAYLOAD_LOST)
    assert lost in outcome.message
    assert outcome.receipt.attempts == 3, "the answer that brought it to light is paid all the same"
    assert not [effect for effect in world.effects if isinstance(effect, SetAside)]


def test_a_step_whose_value_is_lost_fails_the_job_and_not_one_task_after_the_other() -> None:
    world = World(limits=SMALL)
    workflow = {
        "name": "w",
        "version": 1,
        "steps": {
            "big": {"llm": {"pool": "small", "prompt": "{{ input.text }}"}},
            "each": {
                "for_each": "{{ input.rows }}",
                "llm": {"pool": "small", "prompt": "{{ big }}{{ item }}"},
                "require": {"share": 0.01},
            },
        },
    }
    world.submit("a", workflow, {"rows": [1, 2, 3], "text": "x" * 300})
    world.deal()
    world.result(echo(world.tasks.pop()))
    lost = lose(world, 0, None)
    world.memos.clear()
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.PAYLOAD_LOST)
    assert lost in outcome.message


@pytest.mark.parametrize("output", ["{{ notes }}", "{{ all }}"])
def test_a_store_that_is_away_fails_no_task_and_no_job(output: str) -> None:
    world = World(limits=SMALL)
    world.submit("a", two(output=output), long(9))
    world.deal()
    tasks, world.tasks = world.tasks[:9], []
    for task in tasks[:-1]:
        world.result(echo(task))
    world.down = True
    world.result(echo(tasks[-1]))
    before = dict(world.records)
    for _ in range(3):
        with pytest.raises(DependencyUnavailable):
            world.deal()
    assert world.records == before
    world.down = False
    world.run()
    assert world.outcome("a").status is JobStatus.SUCCEEDED
    assert all(task.attempt == 1 for task in world.dispatched)


def test_an_answer_whose_outcome_needs_the_store_is_decided_again_when_it_is_back() -> None:
    world = World(limits=SMALL)
    workflow = two(output="{{ notes }}")
    del workflow["steps"]["all"]
    world.submit("a", workflow, long(3))
    world.deal()
    for task in world.tasks[:2]:
        world.result(echo(task))
    world.down = True
    with pytest.raises(DependencyUnavailable):
        world.result(echo(world.tasks[2]))
    assert not world.outcomes("a")
    world.down = False
    world.result(echo(world.tasks[2]))
    assert world.outcome("a").output == long(3)["rows"]
    assert world.outcome("a").receipt.attempts == 3


def by_reference(world: World, size: int) -> Any:
    def answer(task: Task) -> Result:
        ref = world.keep(json.dumps(f"{task.task_id}" * (size // len(task.task_id))).encode())
        return echo(task).model_copy(update={"output": None, "output_ref": ref})

    return answer


def test_outputs_that_no_value_can_hold_fail_the_job_before_they_are_read_and_say_what_to_do() -> None:
    world = World(limits=Limits(max_value_bytes=100_000))
    workflow = two(output="{{ notes }}")
    del workflow["steps"]["all"]
    world.submit("a", workflow, {"rows": list(range(30))})
    world.run(by_reference(world, 5_000))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.TOO_LARGE)
    assert "more than 100,000 bytes" in outcome.message
    assert "{{ notes | length }}" in outcome.message
    assert world.loaded == []


def test_an_outcome_above_what_one_object_may_have_fails_the_job() -> None:
    world = World(limits=Limits(max_value_bytes=200_000_000))
    workflow = two(output=["{{ notes }}"] * 3)
    del workflow["steps"]["all"]
    world.submit("a", workflow, {"rows": [1]})
    world.run(by_reference(world, 25_000_000))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.TOO_LARGE)
    assert "the limit is 67,108,864" in outcome.message


def test_an_output_that_is_no_json_is_lost() -> None:
    world = World()
    workflow = two(output="{{ notes }}")
    del workflow["steps"]["all"]
    world.submit("a", workflow, {"rows": [1]})
    ref = world.keep(b"not json")
    world.run(lambda task: echo(task).model_copy(update={"output": None, "output_ref": ref}))
    assert world.outcome("a").reason is ErrorKind.PAYLOAD_LOST
    assert f"object {ref.key} holds no JSON" in world.outcome("a").message


def test_a_prompt_that_no_record_takes_fails_its_task_where_there_is_no_store() -> None:
    world = World()
    world.environment = replace(world.environment, objects=False)
    workflow = two(output="{{ notes | length }}")
    workflow["steps"]["notes"]["require"] = {"at_least": 1}
    del workflow["steps"]["all"]
    world.submit("a", workflow, {"rows": ['"' * 500_000, "fits"]})
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.failed_items_total) == (JobStatus.SUCCEEDED, 1)
    assert outcome.failed_items[0].failure.kind is ErrorKind.TOO_LARGE
    assert "install the extra `objects`" in outcome.failed_items[0].failure.message


def test_a_list_that_is_lost_before_its_items_went_out_ends_the_job_and_leaves_it_not_waiting() -> None:
    world = World(limits=SMALL)
    workflow = {
        "name": "w",
        "version": 1,
        "steps": {
            "lists": {"llm": {"pool": "small", "prompt": "{{ input.text }}", "output": {"type": "array"}}},
            "whole": {"reduce": "lists", "fan_in": 2, "llm": {"pool": "large", "prompt": "{{ items | join }}"}},
        },
    }
    world.submit("a", workflow, {"text": "x"})
    world.deal()
    world.result(echo(world.tasks.pop()).model_copy(update={"output": ["y" * 100] * 5}))
    lost = lose(world, 0, None)
    world.memos.clear()
    world.stand("a")
    world.run()
    assert world.outcome("a").reason is ErrorKind.PAYLOAD_LOST
    assert lost in world.outcome("a").message

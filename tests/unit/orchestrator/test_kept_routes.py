"""What a classifier named is kept for its session: asked once for a conversation, and a step that runs never wavers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace.orchestrator.core.events import TimerFired
from headrace.orchestrator.core.kept_route import KeptRoute, kept_route_key
from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import job_key
from headrace.schemas.codec import encode
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Result, Task
from tests.answers import events, refusal, reply
from tests.instance import NOW_MS, TOPICS, Instance
from tests.world import World, echo

LLM = {"prompt": "{{ input.question }}", "max_output_tokens": 9}
TO: dict[str, Any] = {
    "history": {"llm": {**LLM, "pool": "small"}},
    "maths": {"llm": {**LLM, "pool": "large"}},
    "nobody": {},
}
KEY = kept_route_key("s", "w", "s")
MINUTE_MS = 60_000


def chat(
    step: str = "s", name: str = "w", version: int = 1, to: dict[str, Any] = TO, **classifier: Any
) -> dict[str, Any]:
    classifier = {**LLM, "pool": "tiny", "remember_s": 60, **classifier}
    route = {"classifier": classifier, "otherwise": "nobody", "to": to}
    steps = {step: {"route": route, "on_error": "skip"}}
    return {"name": name, "version": version, "steps": steps, "output": f"{{{{ {step} }}}}"}


def names(branch: Any) -> Callable[[Task], Result]:
    """Return answers whose classifier names a branch; an error kind fails it."""

    def answer(task: Task) -> Result:
        if task.pool != "tiny":
            return echo(task)
        return refusal(task, branch) if isinstance(branch, ErrorKind) else reply(task, {"to": branch})

    return answer


def turn(world: World, job_id: str, branch: Any = "history", workflow: dict[str, Any] | None = None) -> dict[str, Any]:
    """Play a job, and return what its route decided."""
    world.submit(job_id, workflow or chat(), {"question": "why?"})
    world.run(names(branch))
    return events(world, "route.decided")[-1]


def asked(world: World) -> list[str]:
    """Return the jobs whose classifier was asked."""
    return [task.job_id for task in world.dispatched if task.pool == "tiny"]


def taken(world: World, job_id: str) -> str | None:
    """Return the branch on a job's receipt."""
    pattern = world.outcome(job_id).receipt.steps["s"].pattern
    return None if pattern is None else pattern.to


def ask_again(world: World, job_id: str, workflow: dict[str, Any] | None = None) -> bool:
    """Whether another job's classifier is asked, which would name another branch."""
    return turn(world, job_id, "maths", workflow)["by"] == "classifier"


def test_the_next_turns_take_the_branch_without_asking_until_its_time_is_over() -> None:
    world = World()
    assert turn(world, "s::1") == {"to": "history", "by": "classifier"}
    world.now_ms += MINUTE_MS - 1
    assert turn(world, "s::2", "maths") == {"to": "history", "by": "session"}
    assert [task.task_id for task in world.dispatched] == ["s::1/s/0", "s::1/s/1", "s::2/s/0"]
    assert taken(world, "s::2") == "history"
    assert job_key("s::1") not in world.records, "the first turn is closed"
    world.now_ms += 1
    assert turn(world, "s::3", "maths") == {"to": "maths", "by": "classifier"}, "taking it does not make it live longer"
    assert turn(world, "s::4") == {"to": "maths", "by": "session"}
    assert asked(world) == ["s::1", "s::3"]


def test_the_record_goes_by_its_timer_and_not_before() -> None:
    world = World()
    turn(world, "s::1")
    assert world.records[KEY] == KeptRoute("history", world.now_ms + MINUTE_MS)
    world.take("s", TimerFired(KEY))
    assert KEY in world.records
    world.now_ms += MINUTE_MS
    world.take("s", TimerFired(KEY))
    assert KEY not in world.records


@pytest.mark.parametrize(
    ("job_id", "workflow"),
    [
        ("t::1", chat()),
        ("s", chat()),
        ("j", chat()),
        ("s::2", chat("other")),
        ("s::2", chat(name="x")),
        ("s::2", chat(remember_s=None)),
    ],
)
def test_another_session_step_or_workflow_or_none_asks(job_id: str, workflow: dict[str, Any]) -> None:
    world = World()
    turn(world, "s::1")
    assert ask_again(world, job_id, workflow)


def test_what_does_not_remember_and_jobs_without_a_session_leave_no_record() -> None:
    world = World()
    turn(world, "j")
    turn(world, "s::1", workflow=chat(remember_s=None))
    assert not [key for key in world.records if key.startswith("routed/")]


@pytest.mark.parametrize("branch", ["unsure", "nowhere", ErrorKind.MALFORMED_OUTPUT])
def test_what_the_classifier_did_not_name_is_not_kept(branch: Any) -> None:
    world = World()
    assert turn(world, "s::1", branch)["by"] == "otherwise"
    assert ask_again(world, "s::2")


def test_a_doubt_is_not_kept_where_a_branch_has_its_name() -> None:
    workflow = chat(to={**TO, "unsure": {}})
    world = World()
    assert turn(world, "s::1", "unsure", workflow) == {"to": "unsure", "by": "classifier"}
    assert ask_again(world, "s::2", workflow)


def test_another_version_takes_it_too_unless_it_has_no_such_branch_for_its_classifier() -> None:
    world = World()
    turn(world, "s::1")
    assert not ask_again(world, "s::2", chat(version=2))
    without = {name: branch for name, branch in TO.items() if name != "history"}
    assert ask_again(world, "s::3", chat(version=3, to=without))
    world = World()
    turn(world, "s::1")
    assert ask_again(world, "s::2", chat(version=2, labels={"maths": ""}))


def test_rules_and_examples_come_before_it() -> None:
    workflow = chat()
    workflow["steps"]["s"]["route"]["rules"] = [{"when": "{{ input.question == 'why?' }}", "to": "maths"}]
    world = World()
    turn(world, "s::1")
    assert turn(world, "s::2", workflow=workflow) == {"to": "maths", "by": "rule", "rule": 0}
    semantic = {"pool": "embed", "text": "x", "examples": {"maths": ["sum"], "history": ["Rome"]}}
    workflow["steps"]["s"]["route"] |= {"rules": [], "semantic": semantic}
    for job_id, score, by in (("s::3", 0.9, "semantic"), ("s::4", 0.1, "session")):
        world.submit(job_id, workflow, {"question": "why?"})
        scores = {"scores": [{"maths": score, "history": 0.0}]}
        world.run(lambda task, scores=scores: reply(task, scores) if task.embed else echo(task))
        assert events(world, "route.decided")[-1]["by"] == by
    assert "abstained" in events(world, "route.decided")[-1]
    assert asked(world) == ["s::1"]


@pytest.mark.parametrize("restarts", [False, True])
def test_in_mid_step_neither_its_end_nor_another_turn_changes_what_is_taken(restarts: bool) -> None:
    world = World()
    turn(world, "s::1")
    world.submit("s::2", chat(), {"question": "what?"})
    world.deal()
    (task,) = world.tasks
    world.now_ms += MINUTE_MS
    world.take("s", TimerFired(KEY))
    world.tasks.clear()
    turn(world, "s::3", "maths")
    if restarts:
        world.memos.clear()
    world.result(echo(task))
    assert (task.pool, world.outcome("s::2").output, taken(world, "s::2")) == ("small", "what?", "history")
    assert asked(world) == ["s::1", "s::3"]


def test_a_step_that_began_to_ask_goes_by_its_own_answer() -> None:
    world = World()
    for job_id in ("s::1", "s::2"):
        world.submit(job_id, chat(), {"question": job_id})
    world.deal()
    first, second = world.tasks
    world.tasks.clear()
    world.result(reply(first, {"to": "history"}))
    assert world.records[KEY].to == "history"  # type: ignore[union-attr]
    world.result(reply(second, {"to": "maths"}))
    world.run()
    assert [data["to"] for data in events(world, "route.decided")] == ["history", "maths"]
    assert turn(world, "s::3") == {"to": "maths", "by": "session"}, "the last one counts"


def test_after_a_restart_it_is_found_and_is_no_orphan() -> None:
    instance = Instance(World().environment)
    for job_id in ("s::1", "s::2"):
        job = {"job_id": job_id, "workflow": chat(), "input": {"question": "why?"}}
        instance.read(TOPICS.jobs, None, json.dumps(job).encode())
        while len(instance.outcomes) < int(job_id[-1]):
            result = names("history")(instance.tasks[-1])
            instance.read(TOPICS.results, job_id.encode(), encode(result))
        instance.close()
        instance.restart()
        assert instance.partition.damage is None
    assert [task.task_id for task in instance.tasks] == ["s::1/s/0", "s::1/s/1", "s::2/s/0"]


def test_after_a_restart_its_timer_deletes_it_and_no_job_that_is_called_as_its_session_minds() -> None:
    instance = Instance(World().environment)
    instance.read(TOPICS.jobs, None, json.dumps({"job_id": "s", "workflow": chat(), "input": {}}).encode())
    instance.log[KEY] = (1, encode_record(KeptRoute("history", NOW_MS)))
    instance.restart()
    before = instance.store.get(job_key("s"))
    assert instance.fire() == []
    assert (instance.log[KEY][1], instance.store.get(KEY), instance.store.get(job_key("s"))) == (None, None, before)

"""Turns of a session: one task at a time, job after job, whatever happens to one of them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.events import (
    CancelRequested,
    JobBroke,
    StateDamaged,
    TaskLost,
    TaskRedriven,
    TimerFired,
)
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.session_record import Session, session_key
from headrace.orchestrator.core.sessions import MAX_TURNS
from headrace.orchestrator.core.state import JobHeader, Phase, job_key, task_key
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.ids import home_partition, session_of
from headrace.schemas.messages import JobStatus, Result, Task
from tests.unit.orchestrator.troubles import failed, killed
from tests.world import POOLS, World, echo

KEY = session_key("s")


def llm(prompt: str = "{{ input.word }}", **more: Any) -> dict[str, Any]:
    return {"llm": {"pool": "small", "prompt": prompt, "max_output_tokens": 9}, **more}


def turns(**step: Any) -> dict[str, Any]:
    steps = {"look": llm(), "reply": llm("{{ look }}", key="session", **step)}
    return {"name": "turns", "version": 1, "steps": steps, "output": "{{ reply }}"}


def submitted(*names: str, workflow: dict[str, Any] | None = None, **job: Any) -> World:
    world = World()
    for name in names:
        world.submit(f"s::{name}", workflow or turns(), {"word": name}, **job)
    return world


def out(world: World) -> list[str]:
    """Return the tasks that are out, dealt as far as may be."""
    world.deal()
    return [task.task_id for task in world.tasks]


def answer(world: World, task_id: str, how: Any = echo) -> None:
    task = next(task for task in world.tasks if task.task_id == task_id)
    world.tasks.remove(task)
    world.result(how(task))


def fire(world: World, job_id: str, step: str = "reply") -> None:
    key = task_key(job_id, step, 0)
    world.now_ms = max(world.now_ms, getattr(world.records[key], "due_ms", 0) or 0)
    world.take(job_id, TimerFired(key))


def test_a_turn_waits_until_the_one_before_it_has_ended_and_its_other_steps_do_not() -> None:
    world = submitted("1", "2")
    assert out(world) == ["s::1/look/0", "s::2/look/0"]
    answer(world, "s::2/look/0")
    assert out(world) == ["s::1/look/0"]
    answer(world, "s::1/look/0")
    assert out(world) == ["s::1/reply/0"]
    answer(world, "s::1/reply/0")
    assert out(world) == ["s::2/reply/0"]
    answer(world, "s::2/reply/0")
    assert [world.outcome(f"s::{name}").status for name in "12"] == [JobStatus.SUCCEEDED] * 2
    assert KEY not in world.records


def test_a_turn_that_waits_for_its_retry_keeps_the_next_one_waiting() -> None:
    world = submitted("1", "2")
    for name in "12":
        out(world)
        answer(world, f"s::{name}/look/0")
    out(world)
    answer(world, "s::1/reply/0", lambda task: failed(task, ErrorKind.RATE_LIMITED, retry_after_ms=60_000))
    assert out(world) == []
    fire(world, "s::1")
    assert out(world) == ["s::1/reply/0"]
    answer(world, "s::1/reply/0", killed)
    fire(world, "s::1")
    world.take("s::1", TaskLost("s::1/reply/0", world.tasks.pop().attempt, "lost", 0.0))
    assert out(world) == []
    fire(world, "s::1")
    answer(world, "s::1/reply/0")
    assert out(world) == ["s::2/reply/0"]


def test_within_a_job_one_task_of_all_steps_in_turn_is_out() -> None:
    steps = {
        "a": llm("{{ item }}", for_each="{{ [1, 2, 3] }}", key="session"),
        "b": llm(key="session"),
        "c": llm("free"),
    }
    world = submitted("1", workflow={"name": "w", "version": 1, "steps": steps, "output": "x"})
    seen = []
    while in_turn := [task_id for task_id in out(world) if "/c/" not in task_id]:
        assert len(in_turn) == 1
        seen += in_turn
        answer(world, in_turn[0])
    assert seen == ["s::1/a/0", "s::1/a/1", "s::1/a/2", "s::1/b/0"]


def test_within_a_job_too_a_task_that_waits_for_its_retry_keeps_the_next_one_waiting() -> None:
    steps = {"a": llm("{{ item }}", for_each="{{ [1, 2] }}", key="session", on_error="skip")}
    world = submitted("1", workflow={"name": "w", "version": 1, "steps": steps})
    out(world)
    answer(world, "s::1/a/0", lambda task: failed(task, ErrorKind.OVERLOADED, retry_after_ms=60_000))
    assert out(world) == []
    fire(world, "s::1", "a")
    answer(world, "s::1/a/0", lambda task: failed(task, ErrorKind.AUTH))
    assert out(world) == ["s::1/a/1"]
    world.take("s::1", TaskRedriven("s::1/a/0", None, None, 1))
    fire(world, "s::1", "a")
    assert out(world) == ["s::1/a/1"], "what was sent back waits for the task that is out"
    answer(world, "s::1/a/1", lambda task: failed(task, ErrorKind.OVERLOADED))
    fire(world, "s::1", "a")
    assert out(world) == ["s::1/a/0"]


@pytest.mark.parametrize(
    "end",
    [
        lambda world: world.take("s::1", CancelRequested(world.now_ms)),
        lambda world: world.take("s::1", JobBroke("broken")),
        lambda world: world.take("s::1", StateDamaged("task", "gone")),
        lambda world: answer(world, "s::1/reply/0", lambda task: failed(task, ErrorKind.AUTH)),
    ],
)
def test_a_turn_that_ends_early_gives_the_turn_away(end: Any) -> None:
    world = submitted("1", "2")
    for name in "12":
        out(world)
        answer(world, f"s::{name}/look/0")
    assert out(world) == ["s::1/reply/0"]
    end(world)
    assert "s::2/reply/0" in out(world)


def test_a_turn_whose_deadline_passes_gives_the_turn_away_and_one_that_waits_leaves_the_queue() -> None:
    world = submitted("1", "2", deadline="1970-01-01T00:30:00Z")
    world.submit("s::3", turns(), {"word": "3"})
    world.now_ms = 1_800_000
    world.take("s::2", TimerFired(job_key("s::2")))
    assert world.records[KEY] == Session(("s::1", "s::3"))
    world.take("s::1", TimerFired(job_key("s::1")))
    world.run()
    assert world.outcome("s::3").status is JobStatus.SUCCEEDED
    assert KEY not in world.records


def test_a_header_that_was_lost_keeps_nobody_waiting() -> None:
    world = submitted("1", "2")
    out(world)
    del world.records[job_key("s::1")]
    world.tasks = [task for task in world.tasks if task.job_id == "s::2"]
    world.take("s::1", StateDamaged("job", "its header cannot be read"))
    assert world.records[KEY] == Session(("s::2",))
    world.run()
    assert world.outcome("s::2").status is JobStatus.SUCCEEDED


def test_a_record_of_the_session_that_was_lost_keeps_nobody_waiting() -> None:
    world = submitted("1", "2")
    del world.records[KEY]
    world.run()
    assert world.outcome("s::2").status is JobStatus.SUCCEEDED


def test_jobs_of_other_sessions_and_jobs_without_steps_in_turn_do_not_wait() -> None:
    world = submitted("1")
    world.submit("t::1", turns(), {"word": "x"})
    world.submit("s::free", {"name": "free", "version": 1, "steps": {"a": llm()}}, {"word": "x"})
    assert world.records[KEY] == Session(("s::1",))
    assert out(world) == ["s::1/look/0", "t::1/look/0", "s::free/a/0"]


def test_a_repeated_submission_takes_no_second_turn() -> None:
    world = submitted("1", "1", "2")
    assert world.records[KEY] == Session(("s::1", "s::2"))


def test_a_session_has_a_bound() -> None:
    world = submitted(*(str(number) for number in range(MAX_TURNS + 1)))
    outcome = world.outcome(f"s::{MAX_TURNS}")
    assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, ErrorKind.INVALID_JOB)
    assert "64 jobs of session s run or wait" in outcome.message


def test_a_job_without_a_session_is_rejected() -> None:
    world = World()
    world.submit("lone", turns(), {"word": "x"})
    assert "begin the job_id with SESSION::" in world.outcome("lone").message


def test_steps_in_turn_cannot_be_nested() -> None:
    world = World(workflows={"turns@1": turns()})
    steps = {"a": {"workflow": {"name": "turns@1", "input": {"word": "x"}}}}
    world.submit("s::1", {"name": "w", "version": 1, "steps": steps})
    assert "turns@1 has steps with key: session, which cannot be nested" in world.outcome("s::1").message


def test_templates_know_the_session() -> None:
    steps = {"a": llm("{{ job.session }} {{ job.id }}", key="session")}
    world = submitted("1", workflow={"name": "w", "version": 1, "steps": steps})
    world.run()
    assert world.outcome("s::1").output == "s s::1"


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def keys(world: World) -> dict[str, str]:
    return {each.task.task_id: each.key for each in world.effects if isinstance(each, DispatchTask)}


def test_tasks_in_turn_share_a_key_and_so_a_partition() -> None:
    world = submitted("1", "2")
    world.run()
    found = keys(world)
    assert {found["s::1/reply/0"], found["s::2/reply/0"]} == {"s"}
    assert found["s::1/look/0"] == "s::1/look/0"


def test_tasks_with_one_prompt_prefix_share_few_keys() -> None:
    def fan(system: str, prompt: str = "{{ item }}") -> dict[str, Any]:
        call = {"pool": "small", "system": system, "prompt": prompt}
        step = {"for_each": "{{ range(100) | list }}", "llm": call, "key": "prefix"}
        return {"name": "w", "version": 1, "steps": {"a": step}}

    def prefixes(job_id: str, workflow: dict[str, Any]) -> tuple[set[str], set[str]]:
        world = World()
        world.submit(job_id, workflow)
        world.run()
        found = set(keys(world).values())
        return {key.rpartition("-")[0] for key in found}, found

    first, same, other = (
        prefixes("a", fan("Be brief.")),
        prefixes("b", fan("Be brief.")),
        prefixes("c", fan("Be long.")),
    )
    assert len(first[0]) == 1
    assert len(first[1]) == 4
    assert first == same
    assert first[0] != other[0]
    lone = fan("", "All alike: {{ item }}")
    lone["steps"]["a"]["llm"].pop("system")
    assert len(prefixes("d", lone)[1]) == 4


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"split": {"from": "x", "by": "lines", "size": 1}, "key": "session"}, "key belongs to steps that have tasks"),
        (
            {"workflow": {"inline": {"steps": {"a": llm("x")}}}, "key": "prefix"},
            "key: prefix belongs to steps that call",
        ),
    ],
)
def test_a_key_where_it_would_be_ignored_is_a_problem(step: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkflowInvalid, match=said):
        compile_workflow({"name": "w", "version": 1, "steps": {"a": step}, "output": "x"}, pools=POOLS)


def test_jobs_of_one_session_live_on_one_partition() -> None:
    assert {home_partition(f"chat-7::{turn}", 12) for turn in range(50)} == {home_partition("chat-7", 12)}
    assert session_of("plain:job") is None


# ── Whatever comes ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_one_task_of_a_session_is_out_and_jobs_keep_their_order(seed: int) -> None:
    draws, world = Random(seed), World()
    names = [f"{draws.choice('st')}::{number}" for number in range(8)]
    waiting = list(names)
    while True:
        world.deal()
        _check(world)
        choice = draws.random()
        running = [name for name in names if _runs(world, name)]
        if waiting and choice < 0.3:
            world.submit(waiting[0], turns(retry={"attempts": 3}), {"word": "x"})
            waiting.pop(0)
        elif running and choice < 0.36:
            world.take(draws.choice(running), CancelRequested(world.now_ms))
        elif world.tasks and choice < 0.9:
            task = world.tasks.pop(draws.randrange(len(world.tasks)))
            world.result(_drawn(task, draws))
        elif not world._fire_next_timer() and not world.tasks and not waiting:
            break
    for session in "st":
        began = [task.job_id for task in world.dispatched if task.step == "reply" and task.job_id.startswith(session)]
        assert began == sorted(began, key=names.index)
    assert not [key for key in world.records if key.startswith("session/")]


def _drawn(task: Task, draws: Random) -> Result:
    kind = draws.choice((None, None, ErrorKind.RATE_LIMITED, ErrorKind.AUTH, ErrorKind.INTERRUPTED))
    return echo(task) if kind is None else failed(task, kind)


def _runs(world: World, job_id: str) -> bool:
    header = world.records.get(job_key(job_id))
    return isinstance(header, JobHeader) and header.phase is Phase.RUNNING


def _check(world: World) -> None:
    headers = [each for each in world.records.values() if isinstance(each, JobHeader) and each.phase is Phase.RUNNING]
    for session in "st":
        states = [each.step("reply") for each in headers if session_of(each.spec.job_id) == session]
        assert sum(state.live + state.retrying for state in states) <= 1

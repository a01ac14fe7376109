"""The law of sagas: whatever fails, and whenever its job ends, all is done or what was done is undone, never half."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.events import CancelRequested, TaskFailed, TaskLost, TaskSucceeded
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from headrace.schemas.pools import PoolsFile
from tests.world import POOLS, World

DO, UNDO = [f"do{n}" for n in range(4)], [f"undo{n}" for n in range(4)]
TOOL = {"kind": "http", "method": "POST", "url": "https://x.example.org/", "idempotent": True}
FILE = PoolsFile.model_validate({"tools": dict.fromkeys((*DO, *UNDO), TOOL)})
KINDS = (ErrorKind.BAD_REQUEST, ErrorKind.OVERLOADED, ErrorKind.INTERRUPTED)


def workflow(draws: random.Random) -> dict[str, Any]:
    entries = []
    for number in range(draws.randrange(1, 5)):
        entry: dict[str, Any] = {"name": f"e{number}", "tool": {"name": DO[number]}}
        if draws.random() < 0.8:
            arguments = {"of": f"{{{{ e{number} }}}}"}
            entry["compensate"] = {"name": UNDO[number], "arguments": arguments}
        entries.append(entry)
    step = {"saga": entries, "retry": {"attempts": draws.choice((1, 2, 3)), "backoff_ms": 10}}
    if draws.random() < 0.3:
        step["on_error"] = "skip"
    return {"name": "w", "version": 1, "steps": {"s": step}, "output": "{{ s }}"}


class Services:
    """What the services behind the tools did: one effect for each key, however often they are asked."""

    def __init__(self, draws: random.Random, share: float) -> None:
        self._draws, self._share = draws, share
        self.effects: dict[str, str] = {}

    def ask(self, task: Task) -> Result:
        assert task.tool is not None
        head: dict[str, Any] = {"task_id": task.task_id, "job_id": task.job_id, "attempt": task.attempt}
        undoing = task.tool.tool.startswith("undo")
        if self._draws.random() < (0.3 if undoing else self._share):
            kind = self._draws.choice((ErrorKind.OVERLOADED,) if undoing else KINDS)
            if kind is ErrorKind.INTERRUPTED and self._draws.random() < 0.5:
                self.effects[task.task_id] = task.tool.tool
            return Result(failure=Failure(kind=kind, message="no"), **head)
        self.effects[task.task_id] = task.tool.tool
        return Result(output=task.task_id, **head)


def live(seed: int, share: float, *, forgetful: bool = False) -> tuple[World, Services, dict[str, Any]]:
    draws = random.Random(seed)
    world = World(pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    services, document = Services(draws, share), workflow(draws)
    world.submit("j", document)
    cancel_after = draws.choice((None, 0, 1, 2, 3, 4, 5))
    for turn in range(200):
        world.deal()
        if turn == cancel_after:
            world.take("j", CancelRequested(0))
        if world.tasks:
            task = world.tasks.pop(0)
            if draws.random() < 0.1:
                services.ask(task)  # Its answer is lost with its worker.
                world.take("j", TaskLost(task.task_id, task.attempt, "lost", 0.0))
            else:
                result = services.ask(task)
                world.take("j", TaskFailed(result, 0.0) if result.failure else TaskSucceeded(result))
        elif not world._fire_next_timer():
            break
        if forgetful:
            world.memos.clear()
    world.close()
    return world, services, document


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0.0, 0.2, 0.5]))
@example(59_953, 0.5)  # Skipped on error, and a compensation failed.
def test_everything_is_done_or_what_was_done_is_undone_once(seed: int, share: float) -> None:
    world, services, document = live(seed, share)
    outcome = world.outcome("j")
    done = list(services.effects.values())
    assert len(done) == len(set(done)), "each service did its work once in effect"
    entries = document["steps"]["s"]["saga"]
    names = [entry["tool"]["name"] for entry in entries]
    whole = outcome.status is JobStatus.SUCCEEDED and outcome.output is not None
    if whole:
        assert [each for each in done if each.startswith("do")] == names
        assert not [each for each in done if each.startswith("undo")]
        return
    pattern = outcome.receipt.steps["s"].pattern
    uncompensated = pattern is not None and pattern.uncompensated
    if uncompensated and outcome.status is not JobStatus.SUCCEEDED:  # Where it is skipped, the receipt alone says it.
        assert "compensation failed" in outcome.message
    answered = {f"j/s/{number}" for number in range(len(entries))}
    failed = {item.task_id for item in outcome.failed_items}
    for number, entry in enumerate(entries):
        task_id = f"j/s/{number}"
        if task_id not in answered or "compensate" not in entry or services.effects.get(task_id) != names[number]:
            continue
        if task_id in failed:
            continue  # Nobody told that it was done: it failed for good, and its message says so.
        undone = UNDO[number] in done
        assert undone or uncompensated, (entry["name"], outcome.message)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0.2, 0.5]))
def test_the_same_log_gives_the_same_effects_after_a_restart_at_any_moment(seed: int, share: float) -> None:
    first, second = live(seed, share)[0], live(seed, share, forgetful=True)[0]
    assert first.effects == second.effects
    assert first.records == second.records
    assert sorted(key.split("/")[0] for key in first.records) == ["marker", "workflow"]

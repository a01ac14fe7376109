"""The law of agents: whatever the model says, it ends in bounds, calls listed tools only, and each call is a task."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.json_schema import findings
from headrace.runtime.turns import turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task, ToolUse
from headrace.schemas.pools import PoolsFile
from tests.world import POOLS, World

NUMBERS = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
FILE = PoolsFile.model_validate(
    {
        "tools": {
            **{name: {"kind": "noop", "arguments": NUMBERS} for name in ("look", "count", "hidden")},
            "send": {"kind": "http", "method": "POST", "url": "https://x.example.org/", "arguments": NUMBERS},
        }
    }
)
LISTED = ("look", "count", "send")
NAMES = (*LISTED, *LISTED, "hidden", "", "no tool", "x" * 300)
ARGUMENTS = (
    '{"n": 1}',
    '{"n": 2}',
    '{"n": 3}',
    "{}",
    "",
    "[",
    '{"n": "1"}',
    '{"n": 1e400}',
    "null",
    '{"n": 1, "m": 2}',
)
FAILURES = (ErrorKind.BAD_REQUEST, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT, ErrorKind.INTERRUPTED)
NO_TURNS = ("text", None, {"content": 1}, {"content": "", "tool_calls": [None]})


def document(draws: random.Random) -> dict[str, Any]:
    agent = {
        "pool": "small",
        "prompt": "go",
        "tools": list(LISTED),
        "max_turns": draws.randrange(2, 6),
        "max_calls": draws.randrange(1, 7),
        "max_parallel": draws.randrange(1, 4),
    }
    step = {"agent": agent, "retry": {"attempts": draws.choice((1, 2)), "backoff_ms": 10}}
    if draws.random() < 0.3:
        step["max_in_flight"] = 1
    return {"name": "w", "version": 1, "steps": {"s": step}, "output": "{{ s }}"}


def said(seed: int, share: float, task: Task) -> Result:
    """What the model and the tools say to an attempt, the same in any order."""
    draws = random.Random(f"{seed}/{task.task_id}/{task.attempt}")
    head: dict[str, Any] = {"task_id": task.task_id, "job_id": task.job_id, "attempt": task.attempt}
    if draws.random() < share:
        return Result(failure=Failure(kind=draws.choice(FAILURES), message="no"), **head)
    if task.tool is not None:
        return Result(output=draws.choice(("found", {"n": [1]}, None, "z" * 10_000)), **head)
    if draws.random() < share / 4:
        return Result(output=draws.choice(NO_TURNS), **head)
    if draws.random() < 0.2:
        return Result(output=turn("done"), **head)
    many = draws.choice((1, 1, 2, 3, 70))
    uses = [ToolUse(name=draws.choice(NAMES), arguments=draws.choice(ARGUMENTS)) for _ in range(many)]
    return Result(output=turn("", uses), **head)


def live(seed: int, share: float, order: int, *, forgetful: bool = False) -> tuple[World, dict[str, Any]]:
    world = World(pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    flow = document(random.Random(seed))
    world.submit("j", flow)
    shuffle = random.Random(order)
    for _ in range(1_000):
        world.deal()
        if world.tasks:
            task = world.tasks.pop(shuffle.randrange(len(world.tasks)))
            for _ in range(1 + (order % 2)):  # A result may come twice.
                world.result(said(seed, share, task))
        elif not world._fire_next_timer():
            break
        if forgetful:
            world.memos.clear()
    world.close()
    return world, flow["steps"]["s"]["agent"]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0.0, 0.1, 0.5]), st.integers(0, 3))
def test_it_ends_within_its_bounds_and_calls_listed_tools_only_each_call_one_task(
    seed: int, share: float, order: int
) -> None:
    world, agent = live(seed, share, order)
    outcome = world.outcome("j")
    assert outcome.status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    first = [task for task in world.dispatched if task.attempt == 1]
    ids = [task.task_id for task in first]
    assert len(ids) == len(set(ids)), "each call is one task"
    turns = [task for task in first if task.call is not None]
    calls = [task.tool for task in first if task.tool is not None]
    assert len(turns) <= agent["max_turns"]
    assert len(calls) <= agent["max_calls"]
    for call in calls:
        assert call.tool in LISTED
        assert not findings(NUMBERS, call.arguments)
    pattern = outcome.receipt.steps["s"].pattern
    assert pattern is not None
    assert pattern.turns == len(turns)
    assert pattern.tool_calls <= len(calls)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0.0, 0.3]), st.integers(0, 3))
def test_every_conversation_answers_each_call_that_was_asked_for_once(seed: int, share: float, order: int) -> None:
    world, agent = live(seed, share, order)
    for task in world.dispatched:
        if task.call is None:
            continue
        messages = task.call.messages
        assert [tool.name for tool in task.call.tools] == list(LISTED)
        asked = [use for message in messages for use in message.tool_calls]
        assert [message.tool_call_id for message in messages if message.role == "tool"] == [use.id for use in asked]
        assert len({use.id for use in asked}) == len(asked)
        assert all(isinstance(json.loads(use.arguments), dict) for use in asked)
        at_most = agent["max_turns"] * (1 + 64) + 1
        assert len(messages) <= at_most


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1_000_000), st.sampled_from([0.0, 0.3]), st.integers(0, 3))
def test_the_same_log_gives_the_same_effects_after_a_restart_at_any_moment(seed: int, share: float, order: int) -> None:
    first, second = live(seed, share, order)[0], live(seed, share, order, forgetful=True)[0]
    assert first.effects == second.effects
    assert first.records == second.records
    assert sorted(key.split("/")[0] for key in first.records) == ["marker", "workflow"]

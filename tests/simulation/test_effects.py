"""What the judge of effects holds against calls of tools: repeated ones, invented ones, answers that nobody gave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import BOOK, LOOK, ORDER, SESSION_MS, TOOLS
from tests.simulation.history import History
from tests.simulation.judges.effects import effects
from tests.simulation.process import Process
from tests.simulation.services import ServiceCall
from tests.simulation.world import World

TASK = "job-1/only/0"
LATER_US = 10_000_000


def judged(tool: str, *ended: str, attempts: int, cut: bool = False, answered: bool = False) -> list[str]:
    """Return what the judge says of calls with one key, each with what came of it.

    Args:
        attempts: how many were dispatched.
        cut: whether the worker was away for longer than a session, until just before the calls.
    """
    world = World(1)
    process = Process(world, "tools-0.1")
    if cut:
        process.cut_off(SESSION_MS * 1_000)
    at_us = SESSION_MS * 1_000 + 1 if cut else LATER_US
    key = f"{TASK}:1" if tool == LOOK else TASK
    served = [ServiceCall(tool, key, {}, process, at_us, ended=each) for each in ended]
    chaos: Any = SimpleNamespace()
    history = History(Cluster(world, []), Topics("sim"), calls=[], served=served, chaos=chaos, objects={})
    tasks = {(TASK, number): {"pool": TOOLS, "tool": {"tool": tool}} for number in range(1, attempts + 1)}
    vars(history).update(dispatched=tasks, results={(TASK, 1): [(0, {"failure": None})]} if answered else {})
    return list(effects(history))


@pytest.mark.parametrize("tool", [LOOK, BOOK, ORDER])
def test_one_call_an_attempt_passes(tool: str) -> None:
    assert not judged(tool, "ok", attempts=1, answered=True)


@pytest.mark.parametrize("first", ["ok", "doubt", ""])
def test_what_may_have_been_done_is_asked_for_again_only_where_keys_are_honoured(first: str) -> None:
    assert judged(ORDER, first, "ok", attempts=2)
    assert not judged(BOOK, first, "ok", attempts=2)


def test_what_was_refused_may_be_asked_for_again() -> None:
    assert not judged(ORDER, "refused", "ok", attempts=2)


@pytest.mark.parametrize("tool", [LOOK, BOOK])
def test_more_calls_than_attempts_are_told_unless_a_worker_came_back_that_was_cut_off(tool: str) -> None:
    assert judged(tool, "ok", "ok", attempts=1)
    assert not judged(tool, "ok", "ok", attempts=1, cut=True)


def test_a_call_that_nobody_dispatched_is_told() -> None:
    assert judged(ORDER, "ok", attempts=0)


def test_an_answer_that_no_service_gave_is_told() -> None:
    assert judged(ORDER, "doubt", attempts=1, answered=True)

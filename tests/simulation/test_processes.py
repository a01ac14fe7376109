"""What is written down of processes: when they were away, and that they were told to stop."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from headrace.schemas.messages import Usage
from headrace.schemas.topics import Topics
from tests.simulation.chaos import CALM_US, Chaos
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import HEARTBEAT_MS, OPEN, SESSION_MS, Fleet, draw_shape, settings_for
from tests.simulation.faults import Faults, Switches
from tests.simulation.history import History
from tests.simulation.judges.calls import calls
from tests.simulation.objects import SimObjects
from tests.simulation.process import Process, Span
from tests.simulation.provider import Call
from tests.simulation.world import World

MINUTE_US = 60_000_000
ATTEMPT = ("job-1/only/0", 1)


def fleet(world: World, **running: Process) -> Fleet:
    """Return a fleet of processes that do nothing but be told."""
    faults = Faults(world, Switches())
    shape = draw_shape(world.draws("shape"))
    made = Fleet(world, settings_for(shape), shape, SimObjects(world, faults), skew_ms=0)
    made.running.update({name.replace("_", "-"): process for name, process in running.items()})
    return made


def process_until_calm(absence: Callable[[Process], None], *, at_us: int = 0) -> Process:
    """Return a process that something takes away at a time, for longer than until the world calms down."""
    world = World(1)
    process = Process(world, "open-0.1")
    Chaos(world, Cluster(world, []), fleet(world, open_0=process), Faults(world, Switches()), Topics("sim"))
    world.run(at_us)
    absence(process)
    world.run(CALM_US)
    return process


def test_who_is_cut_off_or_stands_still_is_back_when_the_world_calms_down() -> None:
    cut = process_until_calm(lambda process: process.cut_off(MINUTE_US))
    frozen = process_until_calm(lambda process: process.freeze(MINUTE_US))
    assert (cut.cuts, frozen.freezes) == ([Span(0, CALM_US)], [Span(0, CALM_US)])
    assert not cut.cut_off_us
    assert not frozen.frozen


def test_a_shorter_cut_that_comes_later_ends_the_longer_one() -> None:
    process = Process(World(1), "open-0.1")
    process.cut_off(MINUTE_US)
    process.world.run(1_000)
    process.cut_off(5_000)
    assert (process.cut_off_us, process.cuts) == (5_000, [Span(0, 1_000), Span(1_000, 6_000)])


def test_a_call_just_after_a_cut_that_the_calm_ended_is_excused_and_a_later_one_is_not() -> None:
    """A worker that was away for longer than a session calls beside the new owner before it hears of it."""
    assert not _twice(CALM_US + 700_000)
    assert _twice(CALM_US + MINUTE_US - 1)


def _twice(at_us: int) -> list[str]:
    """Return what the judge says where a worker cut off until the calm calls at a time, beside the owner."""
    away_us = CALM_US - (SESSION_MS - HEARTBEAT_MS) * 1_000 - 1
    process = process_until_calm(lambda process: process.cut_off(MINUTE_US), at_us=away_us)
    made = [Call(*ATTEMPT, who, at_us, Usage(), "ok") for who in (process, Process(process.world, "open-1.2"))]
    nothing: Any = SimpleNamespace()
    history = History(Cluster(process.world, []), Topics("sim"), calls=made, served=[], chaos=nothing, objects={})
    vars(history).update(dispatched={ATTEMPT: {"pool": OPEN}}, results={})
    return list(calls(history))


def test_who_was_told_to_stop_is_not_told_again_when_it_is_no_longer_wanted() -> None:
    """A worker that is told twice ends at once, without an end to its calls."""
    process, told = Process(World(1), "open-0.1"), [0]
    process.on_term = lambda: told.append(told.pop() + 1)
    processes = fleet(process.world, open_0=process)
    processes.terminate("open-0")
    processes.stop("open-0")
    process.world.run(1)
    assert told == [1]

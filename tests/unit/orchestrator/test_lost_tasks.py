"""Which tasks count as lost: after a take-over, and where nobody ever began them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

from headrace.orchestrator.core.flights import Flight
from headrace.orchestrator.core.state import TaskRecord, TaskStatus
from headrace.orchestrator.core.view import Environment, Limits
from headrace.orchestrator.shell.group_watch import Done, GroupWatch, Snapshot
from headrace.orchestrator.shell.lost_tasks import OVERDUE_EVERY_S, Channel, LostTasks
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.store import PartitionStore

LIMITS = Limits(queue_limit_ms=10_000, lost_grace_ms=1_000)
TOPIC = "p.tasks.small.batch"


class World:
    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.watch = SimpleNamespace(latest=None)
        store = PartitionStore(0, cast(Environment, SimpleNamespace(limits=LIMITS)))
        self.partitions = {0: Partition(store)}
        self.store = store
        watch = cast(GroupWatch, self.watch)
        self.lost = LostTasks(watch, lambda *_: Channel(TOPIC, 100), LIMITS, lambda: self.now_ms)

    def live(self, *numbers: int, at_ms: int | None = None) -> None:
        records = {f"task/j/s/{n}": TaskRecord(TaskStatus.LIVE, 1, at_ms or self.now_ms) for n in numbers}
        self.store.put(records)
        self.store.commit()

    def look(self, done: dict[int, Done], ends: dict[int, int]) -> None:
        places = {(TOPIC, p): each for p, each in done.items()}
        self.watch.latest = Snapshot(time.monotonic(), places, {(TOPIC, p): end for p, end in ends.items()})
        self.lost.look(self.partitions)
        self.lost.look(self.partitions)

    def suspects(self) -> set[str]:
        found: set[str] = set()
        while (flight := self.store.flights.take(10**12)) is not None:
            found.add(flight.key)
        self.store.flights.restore()
        return found


def test_what_was_out_at_a_take_over_is_suspected_once_all_that_lay_there_is_done() -> None:
    world = World()
    world.live(1, 2)
    world.lost.taken_over(0)
    world.now_ms += 5
    world.live(3)
    world.look({0: Done(4), 1: Done(0)}, {0: 4, 1: 3})
    assert world.suspects() == set(), "partition 1 is not done"
    world.look({0: Done(9), 1: Done(1, ((1, 3),))}, {0: 12, 1: 9})
    assert world.suspects() == {"task/j/s/1", "task/j/s/2"}, "what came after the take-over is known by its place"


def test_a_look_that_began_before_the_take_over_sets_no_fence() -> None:
    world = World()
    world.live(1)
    early = Snapshot(time.monotonic(), {(TOPIC, 0): Done(0)}, {(TOPIC, 0): 0})
    world.lost.taken_over(0)
    world.watch.latest = early
    world.lost.look(world.partitions)
    world.lost.look(world.partitions)
    assert world.suspects() == set()


def test_a_backlog_of_hours_loses_nothing() -> None:
    world = World()
    world.lost.taken_over(0)
    for number in range(5):
        world.live(number)
        world.store.flights.sent(Flight(f"task/j/s/{number}", 1, 100), (TOPIC, 0), number)
    for _ in range(4):
        world.now_ms += 3_600_000
        world.look({}, {0: 5})
    assert world.suspects() == set()


def test_a_task_that_nobody_began_within_all_bounds_is_lost() -> None:
    world = World()
    world.live(1)
    world.now_ms += LIMITS.queue_limit_ms + 100 + LIMITS.lost_grace_ms
    world.live(2)
    overdue(world)
    assert world.suspects() == set()
    world.now_ms += 1
    overdue(world)
    assert world.suspects() == {"task/j/s/1"}
    assert (world.store.next_due_ms() or 0) <= world.now_ms, "at once: it had all its time"


def overdue(world: World) -> None:
    lost: Any = world.lost
    lost._overdue_at -= OVERDUE_EVERY_S + 1
    world.lost.look(world.partitions)


def test_a_partition_that_was_let_go_is_looked_at_no_more() -> None:
    world = World()
    world.live(1)
    world.lost.taken_over(0)
    world.lost.let_go(0)
    world.look({0: Done(9)}, {0: 0})
    assert world.suspects() == set()

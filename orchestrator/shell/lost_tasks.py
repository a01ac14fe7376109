"""Finds tasks that nobody will answer, and hands them to the decider as events (docs/guarantees.md, "Lost tasks").

Of what this instance dispatched it knows the offsets. Of what it found at a take-over it knows that they lie below the
ends of the task topics at that moment: once all of that is done, whatever of it still has no result is suspected too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from headrace.orchestrator.core.flights import Flight, Place
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.view import Limits
from headrace.orchestrator.shell.group_watch import GroupWatch, Snapshot
from headrace.orchestrator.shell.partition import Partition

SLICE = 2_000
"""Records that are looked at in one turn of the loop."""
OVERDUE_EVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a task went, and how long it may take."""

    topic: str
    timeout_ms: int


ChannelOf = Callable[[Partition, str, TaskRecord], Channel | None]


@dataclass(slots=True)
class _Fence:
    """What was found at a take-over, until it is known to be done."""

    taken_s: float
    taken_ms: int
    ends: dict[str, dict[int, int]] | None = None
    """By task topic, the end of each partition; None before the first look after the take-over."""


@dataclass(slots=True)
class _Scan:
    """A walk over the live tasks of a partition, a slice at a time."""

    partition: Partition
    keys: Iterator[str]
    topics: frozenset[str] | None
    """Suspect what went to these before `taken_ms`; None: what waits beyond all bounds."""
    taken_ms: int = 0


@dataclass(slots=True)
class LostTasks:
    """Belongs to the loop's thread.

    Args:
        watch: what the workers' groups have committed.
        channel_of: where a live task went, by its record.
        limits: how long a task may wait for a worker, and a suspect for its result.
        now_ms: the time.
    """

    watch: GroupWatch
    channel_of: ChannelOf
    limits: Limits
    now_ms: Callable[[], int]
    _seen: Snapshot | None = None
    _fences: dict[int, _Fence] = field(default_factory=dict)
    _scans: list[_Scan] = field(default_factory=list)
    _overdue_at: float = 0.0

    def __post_init__(self) -> None:
        self._overdue_at = time.monotonic()

    def taken_over(self, number: int) -> None:
        """Note that a partition was taken over, with tasks that are out at unknown places."""
        self._fences[number] = _Fence(time.monotonic(), self.now_ms())

    def let_go(self, number: int) -> None:
        """Forget a partition."""
        self._fences.pop(number, None)
        self._scans = [scan for scan in self._scans if scan.partition.number != number]

    def look(self, partitions: Mapping[int, Partition]) -> None:
        """Take what is new, and go on with what was begun; the suspects lie in each partition's flights after that."""
        snapshot = self.watch.latest
        if snapshot is not None and snapshot is not self._seen:
            self._seen = snapshot
            for partition in partitions.values():
                self._take(partition, snapshot)
        if time.monotonic() - self._overdue_at > OVERDUE_EVERY_S:
            self._overdue_at = time.monotonic()
            self._scans += [_Scan(p, iter(p.store.task_keys()), None) for p in partitions.values()]
        if self._scans and not self._advance(self._scans[0]):
            self._scans.pop(0)

    def _take(self, partition: Partition, snapshot: Snapshot) -> None:
        store, now_ms = partition.store, self.now_ms()
        for place, done in snapshot.done.items():
            store.flights.done(place, done.offset, done.spans, now_ms=now_ms, is_out=store.is_out)
        fence = self._fences.get(partition.number)
        if fence is None or snapshot.began_s < fence.taken_s:
            return
        if fence.ends is None:
            fence.ends = _by_topic(snapshot.ends)
        passed = [topic for topic, ends in fence.ends.items() if _all_done(topic, ends, snapshot)]
        for topic in passed:
            del fence.ends[topic]
        if passed:
            self._scans.append(_Scan(partition, iter(store.task_keys()), frozenset(passed), fence.taken_ms))
        if not fence.ends:
            del self._fences[partition.number]

    def _advance(self, scan: _Scan) -> bool:
        """Look at a slice; return whether there is more."""
        for _ in range(SLICE):
            key = next(scan.keys, None)
            if key is None:
                return False
            record = scan.partition.store.get(key)
            if isinstance(record, TaskRecord) and scan.partition.store.is_out(key, record.attempt):
                self._judge(scan, key, record)
        return True

    def _judge(self, scan: _Scan, key: str, record: TaskRecord) -> None:
        channel = self.channel_of(scan.partition, key, record)
        if channel is None:
            return
        flight, now_ms = Flight(key, record.attempt, channel.timeout_ms), self.now_ms()
        if scan.topics is None:
            last_start_ms = record.at_ms + self.limits.queue_limit_ms
            if now_ms > last_start_ms + channel.timeout_ms + self.limits.lost_grace_ms:
                scan.partition.store.flights.suspect(flight, last_start_ms)  # It had all its time already.
        elif channel.topic in scan.topics and record.at_ms <= scan.taken_ms:
            scan.partition.store.flights.suspect(flight, now_ms)


def _by_topic(ends: Mapping[Place, int]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for (topic, partition), end in ends.items():
        found.setdefault(topic, {})[partition] = end
    return found


def _all_done(topic: str, ends: Mapping[int, int], snapshot: Snapshot) -> bool:
    return all(_done(snapshot, (topic, partition), end) for partition, end in ends.items())


def _done(snapshot: Snapshot, place: Place, end: int) -> bool:
    done = snapshot.done.get(place)
    return end == 0 or (done is not None and done.covers(end))


def live_of(partitions: Iterable[Partition]) -> int:
    """Return how many tasks are out or wait, over partitions."""
    return sum(partition.store.counters.tasks for partition in partitions)

"""A task record on its way through a worker, and the assignment under which it was read."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from headrace.schemas.messages import Lane
from headrace.workers.core.journal import Entry
from headrace.workers.core.lease import Lease


def clock_ms() -> int:
    """Return a time that only goes forward, as leases count it."""
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition's assignment. Each field has one thread that writes it; everybody may read them."""

    partition: int
    epoch: int
    lease: Lease
    """Of the poller that reads the partition."""
    alive: bool = True
    """False once the partition is being given back: nothing more of it is started. Written by the poller."""
    ours: bool = True
    """False once the partition is lost: calls of it that have not begun are another worker's. Written by the poller."""
    released: bool = False
    """Whether the pool has let go what it had not started. Written by the pool."""
    until_ms: int = 0
    """When the last call that then still ran ends at the latest. Written by the pool, before ``released``."""

    @property
    def trusted(self) -> bool:
        """Whether the poller was there lately, so that ``alive`` and ``ours`` can be believed."""
        return self.lease.holds(clock_ms())


@dataclass(slots=True, eq=False)
class Inbox:
    """What became of deliveries, for the lane's poller to take in batches (appending is atomic)."""

    begun: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    """Partition, epoch, offset, and where the journal has the start of the call."""
    done: deque[tuple[int, int, int, int | None]] = field(default_factory=deque)
    """Partition, epoch, offset of a record whose result Kafka has acknowledged, and where the journal has its end."""
    dropped: deque[tuple[int, int, int]] = field(default_factory=deque)
    """Partition, epoch, offset of a record that is left undone for the next owner."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A record that was handed over and is not done."""

    lane: Lane
    message: Any
    """The confluent_kafka Message; read late, because a dropped one need not be read at all."""
    offset: int
    assignment: Assignment
    inbox: Inbox
    noted: Entry | None = None
    """What the journal says about it, where it was delivered before."""

    def begin(self, at: int) -> None:
        """Say that the start of its call stands in the journal, at offset ``at``."""
        self.inbox.begun.append((self.assignment.partition, self.assignment.epoch, self.offset, at))

    def finish(self, at: int | None) -> None:
        """Say that the result was acknowledged: only now may the offset be committed.

        Args:
            at: where the journal has the end of the call; None where it has none.
        """
        self.inbox.done.append((self.assignment.partition, self.assignment.epoch, self.offset, at))

    def drop(self) -> None:
        """Say that it was not started and stays undone."""
        self.inbox.dropped.append((self.assignment.partition, self.assignment.epoch, self.offset))

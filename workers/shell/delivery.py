"""A task record on its way through a worker, and the assignment under which it was read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from headrace.schemas.messages import Lane

Done = tuple[int, int, int]
"""Partition, epoch, offset of a record whose result Kafka has acknowledged."""


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition's assignment. The poller's thread ends it; everybody may read it."""

    partition: int
    epoch: int
    alive: bool = True
    """False once the partition is revoked: what was not started is left to its next owner."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A record that was handed over and is not done."""

    lane: Lane
    message: Any
    """The confluent_kafka Message; read late, because a dropped one need not be read at all."""
    offset: int
    assignment: Assignment
    done: deque[Done]
    """Where its completion goes: the lane's poller takes them in batches (appending is atomic)."""
    dropped: deque[Done]
    """Where it goes when it is left undone for the next owner."""

    def finish(self) -> None:
        """Say that the result was acknowledged: only now may the offset be committed."""
        self.done.append((self.assignment.partition, self.assignment.epoch, self.offset))

    def drop(self) -> None:
        """Say that it was not started and stays undone."""
        self.dropped.append((self.assignment.partition, self.assignment.epoch, self.offset))

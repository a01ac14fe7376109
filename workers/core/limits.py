"""How much a worker takes in, and from which lane it starts next. Pure: time is an argument."""

from __future__ import annotations

from enum import Enum

STAY_AWAY_MS = 1_000
"""How long a full buffer keeps away from the consumer before it pauses (each pause throws the prefetch away)."""


class LaneShare:
    """Chooses between the lanes by counting starts; it never leaves room unused while either lane waits.

    Starts and not running calls are counted, so that a share is one with a concurrency of 1 too.

    Args:
        batch_every: while both lanes wait, every so-many-th start is batch: interactive goes first, neither starves.
    """

    def __init__(self, batch_every: int) -> None:
        self._every = batch_every
        self._since_batch = 0

    def interactive_next(self, *, interactive: int, batch: int) -> bool:
        """Return whether the next start is interactive, and count it. Arguments: tasks waiting, not both 0."""
        if interactive and batch:
            turn = self._since_batch + 1 < self._every
            self._since_batch = self._since_batch + 1 if turn else 0
            return turn
        return interactive > 0


class Intake(Enum):
    """What a poller does next."""

    TAKE = "take"
    """Read as many records as there is room for."""
    STAY_AWAY = "stay_away"
    """Touch the consumer not at all: its prefetch stays, and a completion makes room soon."""
    POLL_PAUSED = "poll_paused"
    """Poll with every partition paused, to stay a member of the group."""


class BufferGate:
    """Decides between reading, staying away and pausing (docs/kafka-mechanics, C1).

    Args:
        capacity: most records of this lane that are delivered and not done.
    """

    def __init__(self, capacity: int, *, stay_away_ms: int = STAY_AWAY_MS) -> None:
        self.capacity = capacity
        self._stay_away_ms = stay_away_ms
        self._full_since_ms: int | None = None
        self.paused = False

    def room(self, incomplete: int) -> int:
        """Return how many more records fit."""
        return max(0, self.capacity - incomplete)

    def decide(self, incomplete: int, now_ms: int) -> Intake:
        """Return what to do; after a pause, reading resumes below half of the capacity.

        Args:
            incomplete: records delivered and not done.
            now_ms: a clock that only goes forward.
        """
        if self.paused:
            if incomplete * 2 >= self.capacity:
                return Intake.POLL_PAUSED
            self.paused, self._full_since_ms = False, None
            return Intake.TAKE
        if incomplete < self.capacity:
            self._full_since_ms = None
            return Intake.TAKE
        if self._full_since_ms is None:
            self._full_since_ms = now_ms
        if now_ms - self._full_since_ms < self._stay_away_ms:
            return Intake.STAY_AWAY
        self.paused = True
        return Intake.POLL_PAUSED

"""How much a worker takes in. Pure: time is an argument."""

from __future__ import annotations

from enum import Enum

STAY_AWAY_MS = 1_000
"""How long a full buffer keeps away from the consumer before it pauses (each pause throws the prefetch away)."""


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

"""Whether a worker may still start what it has read. Pure: time is an argument.

A process that was stopped or starved past its session wakes up with tasks in memory that others own by now, and learns
of it only with the next poll. So after a gap between two rounds of the poller nothing is started until the group has
had time to say who owns what.
"""

from __future__ import annotations

SETTLE_MS = 1_500
"""More than a heartbeat interval and its answer: by then a lost partition is known to be lost."""


class Lease:
    """The rounds of one poller, as those see them who start its tasks.

    Args:
        gap_ms: without a round for so long, what was read is not started; well below the session timeout.
    """

    def __init__(self, gap_ms: int, *, settle_ms: int = SETTLE_MS) -> None:
        self._gap_ms = gap_ms
        self._settle_ms = settle_ms
        self._beat_ms: int | None = None
        self._held_until_ms = 0

    def beat(self, now_ms: int) -> None:
        """Note a round. Only the poller's thread calls this.

        Args:
            now_ms: a clock that only goes forward.
        """
        if self._beat_ms is not None and now_ms - self._beat_ms > self._gap_ms:
            self._held_until_ms = now_ms + self._settle_ms
        self._beat_ms = now_ms

    def holds(self, now_ms: int) -> bool:
        """Return whether what was read may be started."""
        beat_ms = self._beat_ms
        return beat_ms is not None and now_ms - beat_ms <= self._gap_ms and now_ms >= self._held_until_ms

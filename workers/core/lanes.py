"""From which lane a worker starts next. Pure: time is an argument."""

from __future__ import annotations

from headrace.schemas.messages import Lane

SLOTS = 8
"""An eighth of the slots is what batch may always fill, and the most that is kept free for interactive tasks."""
PERIOD_MS = 30_000
"""How long it is remembered how many interactive tasks there were at once: so long, at most twice."""

LaneLoad = tuple[int, int]
"""Tasks of a lane that wait, and that run."""


class LaneShare:
    """Chooses the lane of the next start. Interactive goes first, and neither lane starves.

    A call takes seconds, and where batch fills every slot, an interactive task waits until one of them ends; with
    calls of one length that began together, that is a whole call. So slots are kept free for as many interactive tasks
    as were there at once lately, an eighth of all at most: batch does not start in them. Where none came lately, no
    slot is kept free.

    Args:
        limit: most tasks that run side by side, over both lanes.
        batch_every: while both lanes wait, every so-many-th start is batch. Starts and not running calls are counted,
            so that a share is one with a limit of 1 too.
    """

    def __init__(self, limit: int, batch_every: int) -> None:
        self._limit = limit
        self._eighth = limit // SLOTS
        self._every = batch_every
        self._since_batch = 0
        self._period_end_ms = 0
        self._most = self._most_before = 0
        """Interactive tasks at once, in this period and in the one before it."""

    def next(self, now_ms: int, *, interactive: LaneLoad, batch: LaneLoad) -> Lane | None:
        """Return the lane of the next start, and count it; None: no start now.

        Args:
            now_ms: a clock that only goes forward.
        """
        self._note(now_ms, sum(interactive))
        free = self._limit - interactive[1] - batch[1]
        if free <= 0:
            return None
        if interactive[0] and batch[0]:
            turn = self._since_batch + 1 < self._every
            self._since_batch = self._since_batch + 1 if turn else 0
            return Lane.INTERACTIVE if turn else Lane.BATCH
        if interactive[0]:
            return Lane.INTERACTIVE
        if batch[0] and (free > self.kept_free or batch[1] < max(1, self._eighth)):
            return Lane.BATCH
        return None

    @property
    def kept_free(self) -> int:
        """How many slots batch leaves free now."""
        return min(self._eighth, max(self._most, self._most_before))

    def _note(self, now_ms: int, at_once: int) -> None:
        if now_ms >= self._period_end_ms:
            self._most_before = self._most if now_ms < self._period_end_ms + PERIOD_MS else 0
            self._most, self._period_end_ms = 0, now_ms + PERIOD_MS
        self._most = max(self._most, at_once)

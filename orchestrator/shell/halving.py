"""Finds the one piece of work that Kafka refuses to write, by halving (kafka-mechanics A6).

Kafka refuses a transaction as a whole. Its work is of five parts: broken state that is set right,
records, due timers, grants of room, closing work.
From the second refusal on the parts are tried in turn, each in portions that are halved by a refusal, until one piece
of work is refused alone. What goes well in between is committed; where every part went well, portions grow again.
"""

from __future__ import annotations

from enum import StrEnum

from headrace.schemas.values import value_object


class Part(StrEnum):
    """What work of a batch comes from."""

    MENDING = "mending"
    RECORDS = "records"
    TIMERS = "timers"
    GRANTS = "grants"
    CLOSING = "closing"


PARTS = tuple(Part)


@value_object(frozen=True, slots=True)
class Piece:
    """One piece of work."""

    part: Part
    partition: int
    job_id: str | None
    """None for a record, of which only the intake knows whose it is, and for a fault of the state."""


class Halving:
    """Says what a batch may take on.

    Args:
        most: pieces of an ordinary batch.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._refusals = 0
        self._turn = 0
        """In a search: the part whose turn it is, counted on and on."""
        self._well = 0
        """Parts in a row that went well."""
        self._limit: int | None = None

    @property
    def searching(self) -> bool:
        """Whether parts are tried apart."""
        return self._refusals >= 2

    def limit(self, ordinary: int) -> int:
        """Return how many pieces this batch may have.

        Args:
            ordinary: how many it might have if nothing had been refused.
        """
        return min(ordinary, self._limit or ordinary)

    def allows(self, part: Part) -> bool:
        """Return whether this batch may take on work of a part."""
        return not self.searching or part is PARTS[self._turn % len(PARTS)]

    def refused(self, pieces: int) -> bool:
        """Take note of a refused batch; return whether it was the one piece that was looked for."""
        self._refusals += 1
        self._well = 0
        if not self.searching:
            self._limit = max(1, pieces)
            return False
        if pieces <= 1:
            return True
        self._limit = pieces // 2
        return False

    def went_well(self) -> None:
        """Take note of a batch that was committed, or of a part that had no work."""
        if not self.searching:
            self.reset()
            return
        self._turn += 1
        self._well += 1
        if self._well >= len(PARTS):
            self._well = 0
            self._limit = 2 * (self._limit or 1)
            if self._limit >= self._most:
                self.reset()

    def reset(self) -> None:
        """The search is over."""
        self._refusals = self._turn = self._well = 0
        self._limit = None

"""Tasks that are out, by their place on the task topics: which of them nobody will answer. Pure bookkeeping.

Waiting is not failing. A task is suspected once its offset is done in its pool's commit and it still has no result, and
counts as lost when none came within its call's time and a grace after that: a worker that was given time to finish a
call (its offset handed over at a rebalance) has had it by then. The grace is for a result on its way, a worker that
repeats its delivery, and clocks that differ.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from headrace.schemas.completed import Span
from headrace.schemas.values import value_object

Place = tuple[str, int]
"""A task topic and a partition of it."""
IsOut = Callable[[str, int], bool]
"""Whether a task (by the key of its record) still waits for this attempt's result."""


@value_object(frozen=True, slots=True)
class Flight:
    """One attempt that is out."""

    key: str
    """Key of the task's record."""
    attempt: int
    timeout_ms: int
    """How long its call may take."""


class Flights:
    """The attempts that are out from one partition of ``state``.

    Args:
        grace_ms: how long a suspect has beyond its call's own time.
    """

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._at: dict[Place, dict[int, Flight]] = {}
        """By place, ascending by offset: they are written in that order."""
        self._suspects: list[tuple[int, str, Flight]] = []
        self._fired: list[tuple[int, str, Flight]] = []

    def __len__(self) -> int:
        return sum(map(len, self._at.values())) + len(self._suspects)

    def sent(self, flight: Flight, place: Place, offset: int) -> None:
        """Note where an attempt lies."""
        self._at.setdefault(place, {})[offset] = flight

    def done(self, place: Place, offset: int, spans: Sequence[Span], *, now_ms: int, is_out: IsOut) -> None:
        """Take a pool's commit: what it says is done is forgotten, or suspected where it has no result yet.

        Args:
            offset: everything below it is done.
            spans: what is done above it, ascending.
        """
        flights = self._at.get(place)
        if not flights:
            return
        for at in _done_of(flights, offset, spans):
            flight = flights.pop(at)
            if is_out(flight.key, flight.attempt):
                self.suspect(flight, now_ms)

    def suspect(self, flight: Flight, now_ms: int) -> None:
        """Give an attempt whose offset is done its last time."""
        heapq.heappush(self._suspects, (now_ms + flight.timeout_ms + self._grace_ms, flight.key, flight))

    def next_due_ms(self) -> int | None:
        """Return when the first suspect's time is over."""
        return self._suspects[0][0] if self._suspects else None

    def take(self, now_ms: int) -> Flight | None:
        """Take out and return a suspect whose time is over, or None. `restore` puts it back."""
        if not self._suspects or self._suspects[0][0] > now_ms:
            return None
        entry = heapq.heappop(self._suspects)
        self._fired.append(entry)
        return entry[2]

    def later(self, at_ms: int) -> None:
        """What was taken last cannot be decided now: it comes again at another time."""
        _, key, flight = self._fired.pop()
        heapq.heappush(self._suspects, (at_ms, key, flight))

    def settle(self) -> None:
        """What was taken is committed."""
        self._fired.clear()

    def restore(self) -> None:
        """What was taken was not committed: it is due again."""
        for entry in self._fired:
            heapq.heappush(self._suspects, entry)
        self._fired.clear()

    def clear(self) -> None:
        """Forget everything: the partition's state is read from the log."""
        self._at.clear()
        self._suspects.clear()
        self._fired.clear()


def _done_of(flights: Iterable[int], offset: int, spans: Sequence[Span]) -> list[int]:
    """Return which of some ascending offsets are done: one walk over them and the spans."""
    found, at_span = [], 0
    for at in flights:
        while at_span < len(spans) and spans[at_span][1] <= at:
            at_span += 1
        if at < offset or (at_span < len(spans) and spans[at_span][0] <= at):
            found.append(at)
    return found

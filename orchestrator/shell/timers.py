"""Due times of one partition's records, the earliest first. Lazily cleaned: a record that moved on is skipped."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from headrace.orchestrator.core.state import StateRecord

Lookup = Callable[[str], StateRecord | None]


class Timers:
    """A heap of due times and keys. An entry counts only while the record under its key still has that due time.

    Args:
        holds: returns the record that holds under a key.
    """

    def __init__(self, holds: Lookup) -> None:
        self._holds = holds
        self._heap: list[tuple[int, int, str]] = []
        """When to look, the due time that the record must still have, its key."""
        self._fired: list[tuple[int, int, str]] = []

    def note(self, key: str, before: StateRecord | None, record: StateRecord | None) -> None:
        """Note that the committed record under a key changed."""
        due = getattr(record, "due_ms", None)
        if due is not None and due != getattr(before, "due_ms", None):
            heapq.heappush(self._heap, (due, due, key))

    def next_due_ms(self) -> int | None:
        """Return the earliest due time that still counts."""
        heap = self._heap
        while heap:
            at, due, key = heap[0]
            if getattr(self._holds(key), "due_ms", None) == due:
                return at
            heapq.heappop(heap)
        return None

    def take(self, now_ms: int) -> str | None:
        """Take out and return one key whose due time has passed, or None. `restore` puts it back."""
        due = self.next_due_ms()
        if due is None or due > now_ms:
            return None
        entry = heapq.heappop(self._heap)
        self._fired.append(entry)
        return entry[2]

    def later(self, at_ms: int) -> None:
        """What was taken last cannot be decided now: it comes again at another time."""
        _, due, key = self._fired.pop()
        heapq.heappush(self._heap, (at_ms, due, key))

    def leave(self, job_id: str) -> None:
        """Forget a job's due times; a record of it that changes is timed anew."""
        self._heap = [entry for entry in self._heap if entry[2].split("/")[1] != job_id]
        heapq.heapify(self._heap)

    def settle(self) -> None:
        """What was taken is committed."""
        self._fired.clear()

    def restore(self) -> None:
        """What was taken was not committed: it is due again."""
        for entry in self._fired:
            heapq.heappush(self._heap, entry)
        self._fired.clear()

    def __len__(self) -> int:
        return len(self._heap)

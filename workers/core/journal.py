"""What the journal says about tasks that are not done: which were answered, and which were only begun. Pure.

A worker that takes a partition over reads the tail of `attempts.<pool>` before its first task (docs/kafka-mechanics,
C4). Of that tail it keeps what concerns its own lane and offsets that the commit left undone. A redelivered task whose
answer is here is answered from it; one whose call was begun and has no end is answered ``interrupted``, so that no
call is made twice under one attempt. A start that its own worker gave up before the call counts as none.

A partition of the journal holds both lanes of the task partition with its number, perhaps of two workers. So an entry
is found by lane and offset, and believed only where task and attempt agree.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.schemas.completed import Span
from headrace.schemas.messages import Attempt, Lane, Result, Task

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Answers of one partition that are kept in memory. Beyond it the oldest is forgotten and its task is answered
``interrupted``; journal and result are sent together, so the orchestrator nearly always has that result already."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one attempt."""

    task_id: str
    """The task."""
    attempt: int
    """Which attempt of it."""
    at: int
    """The journal offset from which this can be read again."""
    result: Result | None
    """The answer; None where the call was begun and its end is not known."""
    starts: tuple[tuple[int, str], ...] = ()
    """Where and by whom it was begun, the first first."""
    size_bytes: int = 0
    """What the answer takes in memory, roughly."""

    def concerns(self, task: Task) -> bool:
        """Return whether this is about a task's attempt."""
        return self.task_id == task.task_id and self.attempt == task.attempt


class JournalIndex:
    """What a tail says about the undone tasks of one lane and partition.

    Args:
        lane: of the tasks; entries of the other lane are passed over.
        base: the committed offset; 0 where there is none.
        done: what is done above it, as `completed.decode` gives it.
        max_answer_bytes: see `MAX_ANSWER_BYTES`.
    """

    def __init__(
        self, lane: Lane, *, base: int, done: Sequence[Span] = (), max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._lane = lane
        self._base = base
        self._done = done
        self._room = max_answer_bytes
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, note: Attempt, *, at: int, size_bytes: int) -> None:
        """Take one record of the tail; records come in the journal's order.

        Args:
            at: its offset in the journal.
            size_bytes: the size of its value.
        """
        if note.lane is not self._lane or note.offset is None or not self._undone(note.offset):
            return
        known = self._entries.get(note.offset)
        if known is not None and (known.task_id, known.attempt) != (note.task_id, note.attempt):
            known = None
        if known is not None and known.result is not None:
            return  # The first answer stands, as it does at the orchestrator.
        if note.result is not None:
            self._put(note.offset, Entry(note.task_id, note.attempt, at, note.result, size_bytes=size_bytes))
            return
        starts = [] if known is None else [start for start in known.starts if start[1] != note.worker]
        if note.phase == "started":
            starts.append((at, note.worker))
        self._put_starts(note, tuple(starts))

    def find(self, offset: int) -> Entry | None:
        """Return what is known of the task at an offset; it stays until that offset is done."""
        return self._entries.get(offset)

    def drop(self, offset: int) -> None:
        """Forget a task that is done."""
        if (gone := self._entries.pop(offset, None)) is not None:
            self._room += gone.size_bytes

    def drop_below(self, offset: int) -> None:
        """Forget everything below an offset: it is done."""
        for gone in [known for known in self._entries if known < offset]:
            self.drop(gone)

    def least(self) -> int | None:
        """Return the least offset of the journal that still matters, or None."""
        return min((entry.at for entry in self._entries.values()), default=None)

    def counts(self) -> tuple[int, int]:
        """Return how many tasks have an answer, and how many were only begun."""
        answered = sum(entry.result is not None for entry in self._entries.values())
        return answered, len(self._entries) - answered

    def _put_starts(self, note: Attempt, starts: tuple[tuple[int, str], ...]) -> None:
        assert note.offset is not None
        if starts:
            self._put(note.offset, Entry(note.task_id, note.attempt, starts[0][0], None, starts))
        else:
            self.drop(note.offset)

    def _put(self, offset: int, entry: Entry) -> None:
        self.drop(offset)
        self._entries[offset] = entry
        self._room -= entry.size_bytes
        if self._room < 0:
            self._forget_answers()

    def _forget_answers(self) -> None:
        """Let go of the oldest answers until the rest fits; their tasks stay known as begun."""
        for offset, entry in self._entries.items():
            if self._room >= 0:
                return
            if entry.result is not None:
                self._entries[offset] = Entry(entry.task_id, entry.attempt, entry.at, None)
                self._room += entry.size_bytes

    def _undone(self, offset: int) -> bool:
        if offset < self._base:
            return False
        place = bisect_right(self._done, (offset, 1 << 63)) - 1
        return place < 0 or not self._done[place][0] <= offset < self._done[place][1]

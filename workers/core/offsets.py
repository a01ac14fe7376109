"""Which delivered records are done, and what may be committed. Pure: no Kafka, no clock, no threads.

The tracker works on records that were *delivered* (docs/kafka-mechanics, C2): an offset that was skipped between two
deliveries is a transaction marker, an aborted record or a compacted one, and counts as done. So does everything
between the last delivery and the consumer's position, or lag would stop at 1 for ever.

A partition's numbers::

    base ............ first undone ........ next ........ restored
    │ all done        │ done and undone     │ not seen    │ done before the last
    │ committable ───▶│ → metadata          │ yet         │ restart, in metadata

A commit also names the offset of the journal from which a successor must read: the least one that matters for what is
not done (C4). What was begun and not acknowledged lies behind everything that was acknowledged, because one idempotent
producer writes a partition in order; so the offset after the last acknowledgement bounds it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.schemas.completed import MAX_CHARS, Progress, Span, decode, encode, encode_commit, progress_of
from headrace.workers.core.journal import Entry, JournalIndex

CROWDED_CHARS = MAX_CHARS * 3 // 4
"""Intake of a partition stops when its metadata is this long (docs/kafka-mechanics, C3)."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One partition's part of an offset commit."""

    partition: int
    epoch: int
    offset: int
    """The next offset to read: everything below it is done."""
    metadata: str
    """How far the owner is above it and what is done there, as `completed.encode_commit` writes it."""


@dataclass(slots=True)
class _Partition:
    epoch: int
    next: int | None
    """The offset after the last one delivered or skipped; None until the first, where nothing was committed yet."""
    restored: list[Span]
    """Done above ``next`` before this assignment; ascending."""
    undone: OrderedDict[int, int | None] = field(default_factory=OrderedDict)
    """Delivered and not done, ascending, with the journal offset of its start where that is acknowledged. Linked,
    because taking the first of a plain dict scans its deleted keys."""
    dropped: dict[int, None] = field(default_factory=dict)
    """Of these, let go before they were started: the next owner's to do."""
    committed: tuple[int, str] | None = None
    changed: bool = True
    journal_next: int | None = None
    """Where this lane's journal goes on at the earliest: after what was read, and after what was acknowledged."""
    noted: JournalIndex | None = None
    """What the journal said about undone tasks when the partition was taken over."""
    handed_over: int = 0
    until_ms: int = 0

    def journal_from(self) -> int | None:
        """Return the least journal offset that matters for what is not done."""
        if self.journal_next is None:
            return None
        least = min((at for at in self.undone.values() if at is not None), default=self.journal_next)
        noted = self.noted.least() if self.noted else None
        return min(least, self.journal_next) if noted is None else min(least, self.journal_next, noted)


class OffsetTracker:
    """Tracks the partitions of one topic that one consumer owns.

    Epochs count assignments: a completion carries the epoch under which its record was delivered, and one of an older
    epoch changes nothing, because the offset may belong to another worker by now.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}
        self._epoch = 0
        self._incomplete = 0

    @property
    def incomplete(self) -> int:
        """Records delivered and not done, over all partitions."""
        return self._incomplete

    def running_in(self, partition: int) -> int:
        """Records of one partition that are delivered, not done, and were not let go."""
        found = self._partitions.get(partition)
        return len(found.undone) - len(found.dropped) if found else 0

    def assign(
        self,
        partition: int,
        *,
        committed: int | None = None,
        metadata: str | None = None,
        journal_next: int | None = None,
        noted: JournalIndex | None = None,
    ) -> int:
        """Begin to track a partition and return the epoch of this assignment.

        Args:
            committed: the group's committed offset, or None where there is none.
            metadata: what was committed with it; anything unreadable counts as "nothing above is done".
            journal_next: the end up to which the journal was read; None where there is no journal.
            noted: what it said about undone tasks.
        """
        self.revoke(partition)
        self._epoch += 1
        restored = [] if committed is None else decode(committed, metadata)
        found = _Partition(self._epoch, committed, restored, journal_next=journal_next, noted=noted)
        self._partitions[partition] = found
        if committed is not None:
            before = progress_of(committed, metadata)
            found.handed_over, found.until_ms = before.handed_over, before.until_ms
            found.committed = (committed, metadata or "")
            self._skip_restored(found)
        return self._epoch

    def revoke(self, partition: int) -> None:
        """Forget a partition; completions of its epoch change nothing from now on."""
        gone = self._partitions.pop(partition, None)
        if gone:
            self._incomplete -= len(gone.undone)

    def epoch(self, partition: int) -> int | None:
        """Return the epoch of the partition's assignment, or None where it is not assigned."""
        found = self._partitions.get(partition)
        return found.epoch if found else None

    def deliver(self, partition: int, offset: int) -> bool:
        """Note a record that the consumer handed over; return whether it is to be worked on.

        False: it was done before the last restart, or is running already, or the partition is no longer assigned.
        """
        found = self._partitions.get(partition)
        if found is None:
            return False
        if found.next is not None and offset < found.next:
            if found.undone or found.committed is None or found.next != found.committed[0]:
                return False
            # The log is shorter than the commit (a topic made anew): what was committed says nothing about it.
            found.restored = []
        done = _within(found.restored, offset)
        found.next = offset + 1
        found.changed = True
        self._skip_restored(found)
        if not done:
            found.undone[offset] = None
            self._incomplete += 1
        return not done

    def advance(self, partition: int, position: int) -> None:
        """Note the consumer's position: what lies between the last delivery and it was skipped, and is done."""
        found = self._partitions.get(partition)
        if found is not None and (found.next is None or position > found.next):
            found.next = position
            found.changed = True
            self._skip_restored(found)

    def noted(self, partition: int, offset: int) -> Entry | None:
        """Return what the journal said about a record that is not done."""
        found = self._partitions.get(partition)
        return found.noted.find(offset) if found and found.noted else None

    def begin(self, partition: int, epoch: int, offset: int, at: int) -> None:
        """Note that the start of a record's call stands in the journal, at offset ``at``."""
        found = self._partitions.get(partition)
        if found is not None and found.epoch == epoch and offset in found.undone:
            found.undone[offset] = at
            self._pass_journal(found, at)

    def complete(self, partition: int, epoch: int, offset: int, at: int | None = None) -> bool:
        """Note that a record is done; return False where it belongs to an older epoch or was done already.

        Args:
            at: where its end stands in the journal, if it has one.
        """
        found = self._partitions.get(partition)
        if found is None or found.epoch != epoch or offset not in found.undone:
            return False
        del found.undone[offset]
        found.dropped.pop(offset, None)
        if found.noted:
            found.noted.drop(offset)
        if at is not None:
            self._pass_journal(found, at)
        found.changed = True
        self._incomplete -= 1
        return True

    def hand_over(self, partition: int, *, until_ms: int, now_ms: int) -> int:
        """Count what runs in a partition as done: its calls are finished here, after the partition has gone.

        What a commit could not say stays undone. Called once, before the last commit of an assignment.

        Args:
            until_ms: when the last of these calls ends at the latest.

        Returns:
            How many were handed over.
        """
        found = self._partitions.get(partition)
        if found is None or found.next is None:
            return 0
        before = found.undone
        found.undone = OrderedDict((offset, at) for offset, at in before.items() if offset in found.dropped)
        base = next(iter(found.undone), found.next)
        said = decode(base, encode(base, _done_spans(found, base)))
        kept = {o: at for o, at in before.items() if o in found.dropped or not (o < base or _within(said, o))}
        found.undone = OrderedDict(kept)
        count = len(before) - len(kept)
        self._incomplete -= count
        if count:
            found.handed_over = count + (found.handed_over if found.until_ms > now_ms else 0)
            found.until_ms = max(until_ms, found.until_ms)
            found.changed = True
        return count

    def drop(self, partition: int, epoch: int, offset: int) -> None:
        """Note that a record was let go before it was started: it waits again, for the next owner."""
        found = self._partitions.get(partition)
        if found is not None and found.epoch == epoch and offset in found.undone:
            found.dropped[offset] = None
            found.changed = True

    def committable(self, partitions: Iterable[int] | None = None) -> list[Commit]:
        """Return what may be committed and differs from what is committed, for all partitions or the given ones."""
        commits = []
        for partition in self._partitions if partitions is None else partitions:
            found = self._partitions.get(partition)
            if found is None or not found.changed or found.next is None:
                continue
            found.changed = False
            offset = next(iter(found.undone), found.next)
            if found.noted:
                found.noted.drop_below(offset)
            progress = Progress(
                read_to=min(found.dropped, default=found.next),
                in_flight=len(found.undone) - len(found.dropped),
                journal=found.journal_from(),
                handed_over=found.handed_over,
                until_ms=found.until_ms,
            )
            metadata = encode_commit(offset, _done_spans(found, offset), progress)
            if (offset, metadata) != found.committed:
                commits.append(Commit(partition, found.epoch, offset, metadata))
        return commits

    def committed(self, commit: Commit) -> None:
        """Note that Kafka took a commit."""
        found = self._partitions.get(commit.partition)
        if found is not None and found.epoch == commit.epoch:
            found.committed = (commit.offset, commit.metadata)

    def refused(self, commit: Commit) -> None:
        """Note that Kafka did not take a commit: it is due again."""
        found = self._partitions.get(commit.partition)
        if found is not None and found.epoch == commit.epoch:
            found.changed = True

    def crowded(self, partition: int) -> bool:
        """Return whether intake of a partition must stop, because its commit's metadata has little room left."""
        found = self._partitions.get(partition)
        if found is None or not found.undone:
            return False
        return len(encode(offset := next(iter(found.undone)), _done_spans(found, offset))) >= CROWDED_CHARS

    @staticmethod
    def _pass_journal(found: _Partition, at: int) -> None:
        if found.journal_next is not None and at >= found.journal_next:
            found.journal_next = at + 1

    @staticmethod
    def _skip_restored(found: _Partition) -> None:
        """Move over restored spans that begin at or below ``next``; drop those that lie below it."""
        while found.restored and found.next is not None and found.restored[0][1] <= found.next:
            found.restored.pop(0)


def _within(spans: list[Span], offset: int) -> bool:
    place = bisect_right(spans, (offset, 1 << 63)) - 1
    return place >= 0 and spans[place][0] <= offset < spans[place][1]


def _done_spans(found: _Partition, base: int) -> list[Span]:
    """Return what is done from ``base`` on: the gaps between undone offsets, then what was restored above."""
    assert found.next is not None
    spans, at = [], base
    for offset in found.undone:
        if offset > at:
            spans.append((at, offset))
        at = offset + 1
    if at < found.next:
        spans.append((at, found.next))
    for start, end in found.restored:
        start = max(start, found.next)  # noqa: PLW2901
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans

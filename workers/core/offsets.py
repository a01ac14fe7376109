"""Which delivered records are done, and what may be committed. Pure: no Kafka, no clock, no threads.

The tracker works on records that were *delivered* (docs/kafka-mechanics, C2): an offset that was skipped between two
deliveries is a transaction marker, an aborted record or a compacted one, and counts as done. So does everything
between the last delivery and the consumer's position, or lag would stop at 1 for ever.

A partition's numbers::

    base ............ first undone ........ next ........ restored
    │ all done        │ done and undone     │ not seen    │ done before the last
    │ committable ───▶│ → metadata          │ yet         │ restart, in metadata
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.schemas.completed import MAX_CHARS, Progress, Span, decode, encode, encode_commit

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
    undone: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Delivered and not done, ascending. Linked, because taking the first of a plain dict scans its deleted keys."""
    dropped: dict[int, None] = field(default_factory=dict)
    """Of these, let go before they were started: the next owner's to do."""
    committed: tuple[int, str] | None = None
    changed: bool = True


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

    def assign(self, partition: int, *, committed: int | None = None, metadata: str | None = None) -> int:
        """Begin to track a partition and return the epoch of this assignment.

        Args:
            committed: the group's committed offset, or None where there is none or it could not be read.
            metadata: what was committed with it; anything unreadable counts as "nothing above is done".
        """
        self.revoke(partition)
        self._epoch += 1
        restored = [] if committed is None else decode(committed, metadata)
        self._partitions[partition] = _Partition(self._epoch, committed, restored)
        if committed is not None:
            self._partitions[partition].committed = (committed, metadata or "")
            self._skip_restored(self._partitions[partition])
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

    def complete(self, partition: int, epoch: int, offset: int) -> bool:
        """Note that a record is done; return False where it belongs to an older epoch or was done already."""
        found = self._partitions.get(partition)
        if found is None or found.epoch != epoch or offset not in found.undone:
            return False
        del found.undone[offset]
        found.dropped.pop(offset, None)
        found.changed = True
        self._incomplete -= 1
        return True

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
            read_to = min(found.dropped, default=found.next)
            progress = Progress(read_to, len(found.undone) - len(found.dropped))
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

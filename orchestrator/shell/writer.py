"""Writes a batch as one transaction, and applies it to memory only after the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from headrace.orchestrator.core.state import OWNER_KEY, Cursor, Owner, cursor_key
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.encoder import Encoder, Unwritable
from headrace.orchestrator.shell.input import Input
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.transaction import Committed, TransactionSession, WriteRefused
from headrace.schemas.codec import Record
from headrace.schemas.topics import Topics


class Writer:
    """The loop's hand on the transaction.

    Args:
        session: the transactional producer.
        encoder: for state records.
        working: the partitions that are worked.
        topics: names of the topics.
        group: the consumer's group metadata, taken just before the offsets are sent.
        settle: waits until the objects that the batch refers to are stored.
    """

    def __init__(
        self,
        session: TransactionSession,
        *,
        encoder: Encoder,
        working: Mapping[int, Partition],
        topics: Topics,
        group: Callable[[], bytes],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._encoder = encoder
        self._working = working
        self._topics = topics
        self._group = group
        self._settle = settle
        self._names = {topics.jobs: cursor_key("jobs"), topics.results: cursor_key("results")}

    def changed(self) -> bool:
        """Return whether any partition has something to write."""
        return any(partition.store.changes for partition in self._working.values())

    def write(self, batch: Batch) -> float:
        """Write a batch: its effects, the changed state, the cursors, the offsets. Return the seconds it took.

        Raises:
            WriteRefused: something in it cannot be written.
            CommitFailed: aborted.
            Fenced: another producer has this id.
            SessionLost: the ending is unknown.
            DependencyUnavailable: the objects that it refers to are not stored yet; nothing was begun.
        """
        for (topic, p), offset in batch.next.items():
            self._working[p].store.put({self._names[topic]: Cursor(offset)})
        written = [partition for partition in self._working.values() if partition.store.changes]
        try:
            records = batch.records + self._state(written)
        except Unwritable as error:
            raise WriteRefused(error.message) from None
        self._settle()
        committed = self._session.write(records, offsets=self._offsets(batch, written), group=self._group)
        self._note_offsets(committed)
        for (home, flight), topic, p, offset in committed.places:
            self._working[home].store.flights.sent(flight, (topic, p), offset)
        return committed.seconds

    def take_over(self, partitions: Iterable[Partition]) -> None:
        """Write this instance's id and the cursors into partitions that it took (kafka-mechanics A3)."""
        written = list(partitions)
        for partition in written:
            cursors = {self._names[topic]: Cursor(offset) for topic, offset in partition.next.items()}
            partition.store.put({OWNER_KEY: Owner(self._session.transactional_id), **cursors})
        try:
            offsets = self._offsets(Batch(), written)
            committed = self._session.write(self._state(written), offsets=offsets, group=self._group)
        except BaseException:
            for partition in written:
                partition.store.rollback()
            raise
        for partition in written:
            partition.store.commit()
            if (last := committed.last_offsets.get(partition.number)) is not None:
                partition.store.offset = last + 1

    def apply(self, batch: Batch) -> None:
        """Make a committed batch part of memory."""
        for (topic, p), offset in batch.next.items():
            self._working[p].next[topic] = offset
        for p, at_ms in batch.last_result_ms.items():
            self._working[p].last_result_ms = at_ms
        for partition in self._working.values():
            partition.store.commit()
            self._note_mended(partition, batch.mended.get(partition.number, 0))

    @staticmethod
    def _note_mended(partition: Partition, count: int) -> None:
        if partition.damage is not None:
            partition.damage.mended(count)
            partition.damage = partition.damage if partition.damage.faults else None

    def forget(self, decider: Decider, input: Input) -> int:
        """Drop what a batch decided; its records are decided again. Return how many records that is."""
        for partition in self._working.values():
            touched = list(partition.store.touched)
            partition.store.rollback()
            decider.stand_again(partition, touched)
        return input.untake()

    def _state(self, partitions: list[Partition]) -> list[Record]:
        return [
            record
            for partition in partitions
            for record in self._encoder.state(partition.number, partition.store.changes)
        ]

    def _offsets(self, batch: Batch, written: list[Partition]) -> dict[tuple[str, int], int]:
        """Return the next offsets of both topics of every partition written, unchanged where nothing was read (A1)."""
        return {
            (topic, partition.number): batch.next.get((topic, partition.number), offset)
            for partition in written
            for topic, offset in partition.next.items()
        }

    def _note_offsets(self, committed: Committed) -> None:
        for p, offset in committed.last_offsets.items():
            self._working[p].store.offset = offset + 1

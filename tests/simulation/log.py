"""Logs of partitions: records, markers, the last stable offset, and what a reader sees of them."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from tests.simulation.world import EPOCH_S, World

Headers = list[tuple[str, bytes]]
NO_TIMESTAMP = 1


class Transaction:
    """One transaction of one producer, over all partitions that it touches."""

    __slots__ = ("committed", "process", "sequence", "transactional_id")

    def __init__(self, transactional_id: str, process: str) -> None:
        self.transactional_id = transactional_id
        self.process = process
        self.committed: bool | None = None
        """None while it is open."""
        self.sequence = 0
        """Its place among all committed transactions of the cluster."""


class Entry:
    """A record, as it lies in the log and as confluent-kafka's Message hands it out."""

    __slots__ = (
        "_headers",
        "_key",
        "_offset",
        "_partition",
        "_timestamp",
        "_topic",
        "_value",
        "at_us",
        "marker",
        "part",
    )

    def __init__(
        self,
        log: PartitionLog,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        timestamp_ms: int,
        part: Part | None,
    ) -> None:
        self._topic = log.topic
        self._partition = log.partition
        self._offset = len(log.entries)
        self._key = key
        self._value = value
        self._headers = headers
        self._timestamp = timestamp_ms
        self.at_us = log.now_us
        """When it was written, by the world's own clock."""
        self.part = part
        self.marker = False

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Headers | None:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return (NO_TIMESTAMP, self._timestamp)

    def error(self) -> None:
        return None


class Part:
    """A transaction's part in one partition: open until its marker is written here."""

    __slots__ = ("aborted", "epoch", "first", "open", "transaction")

    def __init__(self, transaction: Transaction, first: int, epoch: int) -> None:
        self.transaction = transaction
        self.first = first
        self.epoch = epoch
        self.open = True
        self.aborted = False


class PartitionLog:
    """One partition."""

    def __init__(self, world: World, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.entries: list[Entry | None] = []
        """By offset; None where compaction removed a record."""
        self.stable = 0
        """The last stable offset: nothing below it is undecided."""
        self.epochs: dict[int, int] = {}
        """By producer id, the newest epoch seen here."""
        self.open: dict[int, Part] = {}
        """By producer id, what is open."""
        self.readers: dict[Any, None] = {}
        """Consumers that read here; told when there is more."""
        self.ends_told: list[tuple[str, int]] = []
        """Who asked for the end, and when: a worker does so for its tasks and its journal at once."""
        self._world = world
        self._salt = crc32(f"{topic}/{partition}".encode())

    @property
    def now_us(self) -> int:
        return self._world.now_us

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        timestamp_ms: int | None = None,
        part: Part | None = None,
    ) -> Entry:
        """Append a record; the caller calls `moved` after the last one."""
        if timestamp_ms is None:
            timestamp_ms = EPOCH_S * 1_000 + self._world.now_us // 1_000
        entry = Entry(self, key, value, headers, timestamp_ms, part)
        self.entries.append(entry)
        self._world.step(self._salt, crc32(value or b"", crc32(key or b"")))
        return entry

    def begin(self, producer_id: int, epoch: int, transaction: Transaction) -> Part:
        """Return a transaction's part here, opened now if it is its first record."""
        part = self.open.get(producer_id)
        if part is None:
            part = self.open[producer_id] = Part(transaction, len(self.entries), epoch)
        return part

    def end(self, producer_id: int, epoch: int, committed: bool) -> None:
        """Write a transaction's marker."""
        self.epochs[producer_id] = epoch
        marker = self.append(None, b"commit" if committed else b"abort", None)
        marker.marker = True
        part = self.open.pop(producer_id, None)
        if part is not None:
            part.open = False
            part.aborted = not committed
        self.moved()

    def moved(self) -> None:
        """Work out the last stable offset again, and tell who reads."""
        open_at = [part.first for part in self.open.values()]
        self.stable = min(open_at) if open_at else len(self.entries)
        for reader in self.readers:
            reader.more()

    def visible(self) -> list[Entry]:
        """Return the records that a read_committed reader sees now."""
        return [e for e in self.entries[: self.stable] if e is not None and not hidden(e)]


def hidden(entry: Entry | None) -> bool:
    """Return whether nobody who reads committed records sees an entry, given that it lies below the stable offset."""
    return entry is None or entry.marker or (entry.part is not None and entry.part.aborted)

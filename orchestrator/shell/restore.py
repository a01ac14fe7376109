"""Rebuilds partitions from their changelog, a chunk at a time, so that the loop keeps polling meanwhile.

kafka-mechanics A3, B2 to B4. The order, for all partitions that were assigned at once:

1. Ask for the committed offsets of ``jobs`` and ``results`` (before the end of ``state``: what is committed later
   cannot be ours).
2. Ask for the end of ``state``, open transactions included.
3. Read ``state`` up to that end; a warm partition reads only what came after it was last in memory.
4. Where it cannot be read to the end `PATIENCE_S` after it began, abort what a dead predecessor left open. Where such
   a transaction holds the committed offsets, read what can be read, to learn whose it is, abort it, and begin again.
   Where it does not come on for `STALL_S`, make the reader anew, whatever holds it: a new client has no state to be
   stuck in.
5. Ask for the ends of ``jobs`` and ``results``: not earlier, since where this process stood still, the cursors that
   it read are another's and ahead of what was measured before.
6. Decode the last version of each key, note what cannot be (damage.py), and settle where the input begins.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.orchestrator.core.record_codec import decode_record
from headrace.orchestrator.core.state import OWNER_KEY
from headrace.orchestrator.shell.damage import Damage, load
from headrace.orchestrator.shell.store import PartitionStore
from headrace.runtime.group_offsets import STALE_S, OffsetsHeld, committed_offsets
from headrace.runtime.kafka import ClientConfig
from headrace.runtime.offsets import Place, beginnings, ends, stable_ends
from headrace.schemas.errors import DependencyUnavailable, HeadraceError, SessionError
from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")

PATIENCE_S = 0.5
STALL_S = 3.0
"""How long a reader may bring nothing. Longer than a busy broker takes for one answer."""
STABLE_S = 2.0
"""How long to wait for an answer that only a log line is made of."""
CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class Restored:
    """A partition that is in memory again.

    Args:
        start: by topic, the next offset to read.
        results_end: the end of ``results`` when it was restored: no timer fires before it is read (B5).
        damage: what is wrong with its records, or None.
    """

    partition: int
    start: dict[str, int]
    results_end: int
    damage: Damage | None


@dataclass(slots=True)
class _Reading:
    store: PartitionStore
    committed: dict[str, int] | None = None
    """None where an open transaction holds them."""
    end: int = 0
    earliest: dict[str, int] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    raw: dict[str, tuple[int, bytes | None]] = field(default_factory=dict)
    next: int = 0
    stopped_at: int | None = None
    records: int = 0
    began: float = 0.0
    moved: tuple[int, float] = (-1, 0.0)
    """`next` when it was looked at last, and since when it is that."""


class Restorer:
    """Reads changelogs. Belongs to the loop's thread.

    Args:
        reader: configuration of a consumer without group, read_committed.
        topics: names of the topics.
        admin: asks for ends of topics.
        own_id: this instance's transactional id, whose orphans `TransactionSession.open` aborted already.
        abort: aborts the open transaction of another id.
    """

    def __init__(
        self, reader: ClientConfig, *, topics: Topics, admin: AdminClient, own_id: str, abort: Callable[[str], None]
    ) -> None:
        self._config = reader
        self._topics = topics
        self._admin = admin
        self._own_id = own_id
        self._abort = abort
        self._group: Any = None
        self._reader: Any = None
        self._readings: dict[int, _Reading] = {}
        self._orphans_seen_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether partitions are being read."""
        return bool(self._readings)

    def begin(self, group: Consumer, stores: Iterable[PartitionStore]) -> None:
        """Start to read partitions that were just assigned; those that are being read already begin again.

        Raises:
            DependencyUnavailable: Kafka does not answer.
        """
        self._group = group
        readings = [_Reading(store, next=store.offset, began=time.monotonic()) for store in stores]
        self._ask(readings)
        earliest = beginnings(self._admin, self._inputs(readings))
        for reading in readings:
            p = reading.store.partition
            reading.earliest = {topic: offset for (topic, number), offset in earliest.items() if number == p}
            self._readings[p] = reading
        self._assign()

    def _ask(self, readings: list[_Reading]) -> None:
        try:
            committed = committed_offsets(self._group, self._inputs(readings), held_s=PATIENCE_S)  # 1
        except OffsetsHeld:
            if time.monotonic() - min(reading.began for reading in readings) > STALE_S:
                raise DependencyUnavailable("the group's offsets cannot be read: a transaction holds them") from None
            committed = None
        end = ends(self._admin, [(self._topics.state, reading.store.partition) for reading in readings])  # 2
        for reading in readings:
            p = reading.store.partition
            reading.end = end[self._topics.state, p]
            if committed is not None:
                reading.committed = {topic: offset for (topic, number), offset in committed.items() if number == p}

    def _inputs(self, readings: list[_Reading]) -> list[Place]:
        inputs = (self._topics.jobs, self._topics.results)
        return [(topic, reading.store.partition) for topic in inputs for reading in readings]

    def forget(self, partitions: Iterable[int]) -> None:
        """Stop to read partitions that were taken away."""
        gone = [p for p in partitions if self._readings.pop(p, None) is not None]
        if gone:
            self._assign()

    def advance(self, timeout_s: float) -> list[Restored]:
        """Read on; return the partitions that are complete.

        Raises:
            DependencyUnavailable: Kafka does not answer.
        """
        self._read(timeout_s)  # 3
        complete = [reading for reading in self._readings.values() if reading.next >= reading.end]
        done = [reading for reading in complete if reading.committed is not None]
        if not done:
            if complete:
                self._abort_orphans(complete)
                self._ask(complete)
                self._assign()
            self._lose_patience()  # 4
            self._read_anew()
            return []
        latest = ends(self._admin, self._inputs(done))  # 5
        for reading in done:
            p = reading.store.partition
            del self._readings[p]
            reading.latest = {topic: offset for (topic, number), offset in latest.items() if number == p}
        restored = [self._finish(reading) for reading in done]  # 6
        if not self._readings:
            self.close()
        return restored

    def close(self) -> None:
        """Drop the reader."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _assign(self) -> None:
        """Assign what is still to be read; positions are kept."""
        wanted = [
            TopicPartition(self._topics.state, p, reading.next)
            for p, reading in self._readings.items()
            if reading.next < reading.end
        ]
        if self._reader is None and wanted:
            self._reader = Consumer(self._config)
        if self._reader is not None:
            self._reader.assign(wanted)

    def _read(self, timeout_s: float) -> None:
        if self._reader is None or not any(r.next < r.end for r in self._readings.values()):
            return
        deadline = time.monotonic() + timeout_s
        message = self._reader.poll(timeout_s)
        while message is not None:
            self._take([message, *self._reader.consume(CHUNK, 0)])
            if time.monotonic() >= deadline:
                return
            message = self._reader.poll(0)

    def _take(self, messages: list[Any]) -> None:
        """Keep the last version of each key. Nothing here is done twice a record: it is most of a restore's time."""
        readings = self._readings
        for message in messages:
            reading = readings.get(message.partition())
            if message.error() is not None:
                self._note_error(message, reading)
            elif reading is not None and (offset := message.offset()) >= reading.next:
                key = message.key()
                name = key.decode("utf-8", "surrogateescape") if key else ""
                reading.raw[name] = (offset, message.value())
                reading.next = offset + 1
                reading.records += 1

    def _note_error(self, message: Any, reading: _Reading | None) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF and reading is not None:
            # At the last stable offset, not necessarily at the end (B3).
            reading.stopped_at = message.offset()
            reading.next = max(reading.next, message.offset())
        elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            log.error("state.read_failed", partition=message.partition(), error=error.str())

    def _lose_patience(self) -> None:
        """Abort the open transaction of a dead predecessor where it hides the end of a changelog (A3)."""
        now = time.monotonic()
        stuck = [
            reading
            for reading in self._readings.values()
            if reading.stopped_at is not None and reading.next < reading.end and now - reading.began > PATIENCE_S
        ]
        if stuck:
            self._abort_orphans(stuck)

    def _abort_orphans(self, stuck: list[_Reading]) -> None:
        now = time.monotonic()
        if now - self._orphans_seen_at < PATIENCE_S:
            return
        self._orphans_seen_at = now
        for transactional_id in self._suspects(stuck):
            log.warning(
                "orphan.found", transactional_id=transactional_id, partitions=[r.store.partition for r in stuck]
            )
            try:
                self._abort(transactional_id)
            except SessionError as error:
                log.warning("orphan.not_aborted", transactional_id=transactional_id, error=error.message)

    def _read_anew(self) -> None:
        """Make the reader anew where a changelog does not come on, and say what it waits for."""
        now = time.monotonic()
        stalled = []
        for reading in self._readings.values():
            at, since = reading.moved
            if at != reading.next:
                reading.moved = (reading.next, now)
            elif now - since > STALL_S and at < reading.end:
                reading.moved = (at, now)
                stalled.append(reading)
        if not stalled:
            return
        stable = self._stable_ends(stalled)
        log.warning("restore.stalled", waits=[_said(r, now, stable.get(r.store.partition)) for r in stalled])
        self.close()
        self._assign()

    def _stable_ends(self, readings: list[_Reading]) -> dict[int, int]:
        """Return where open transactions begin, by partition; nothing where Kafka does not answer."""
        try:
            found = stable_ends(
                self._admin, [(self._topics.state, r.store.partition) for r in readings], timeout_s=STABLE_S
            )
        except DependencyUnavailable:
            return {}
        return {p: end for (_, p), end in found.items()}

    def _suspects(self, stuck: list[_Reading]) -> dict[str, None]:
        """Return who may have left a transaction open: the recorded owners, and owners named in what is open."""
        found: dict[str, None] = {}
        for reading in stuck:
            _, raw = reading.raw.get(OWNER_KEY, (0, None))
            owner = _owner_of(raw) if raw else reading.store.owner()
            found.setdefault(owner or self._own_id)
        for owner in self._uncommitted_owners(stuck):
            found.setdefault(owner)
        # One's own orphans were aborted when the producer was opened; to do it again would fence oneself.
        found.pop(self._own_id, None)
        return found

    def _uncommitted_owners(self, stuck: list[_Reading]) -> list[str]:
        """Look into the open transactions themselves: an instance killed in its first has recorded no owner yet."""
        reader = Consumer({**self._config, "isolation.level": "read_uncommitted"})
        owners: list[str] = []
        try:
            reader.assign([TopicPartition(self._topics.state, r.store.partition, r.next) for r in stuck])
            for message in reader.consume(CHUNK, 0.3):
                value = message.value()
                if message.error() is None and message.key() == OWNER_KEY.encode() and value:
                    owners += [owner for owner in [_owner_of(value)] if owner is not None]
        finally:
            reader.close()
        return owners

    def _finish(self, reading: _Reading) -> Restored:
        store, p = reading.store, reading.store.partition
        gc.disable()  # All that is made here stays: looking through it again and again was a fifth of the time.
        try:
            damage = load(store, reading.raw, reading.next)
        finally:
            gc.enable()
        start = {
            topic: self._start(name, topic, reading)
            for name, topic in (("jobs", self._topics.jobs), ("results", self._topics.results))
        }
        seconds = time.monotonic() - reading.began
        log.info(
            "partition.restored", partition=p, records=reading.records, seconds=round(seconds, 3),
            jobs=store.counters.jobs, tasks=store.counters.tasks, start=start,
            faults=len(damage.faults) if damage else 0,
        )  # fmt: skip
        return Restored(p, start, reading.latest[self._topics.results], damage)

    def _start(self, name: str, topic: str, reading: _Reading) -> int:
        """Return the next offset of a topic: the higher of cursor and committed offset (B4)."""
        assert reading.committed is not None
        p, committed = reading.store.partition, reading.committed[topic]
        cursor = reading.store.cursor(name)
        earliest = reading.earliest[topic]
        if cursor is not None and cursor != committed:
            # Expired group offsets (−1001) come every 7 days without members; anything else is worth a look.
            log.warning("offsets.differed", topic=topic, partition=p, cursor=cursor, committed=committed)
        start = max(cursor if cursor is not None else -1, committed)
        if 0 <= start < earliest:
            log.error("records.expired_unread", topic=topic, partition=p, next=start, earliest=earliest)
        if start > (latest := reading.latest[topic]):
            # An unclean election of a leader cut the log: what comes next is written where it ends now.
            log.error("records.cut_off", topic=topic, partition=p, next=start, end=latest)
            return latest
        return max(start, earliest)


def _said(reading: _Reading, now: float, stable_end: int | None) -> dict[str, float | None]:
    """Return what a reading waits for; `stable_end` below `end`: a transaction is open."""
    return {
        "partition": reading.store.partition,
        "next": reading.next,
        "end": reading.end,
        "stable_end": stable_end,
        "stopped_at": reading.stopped_at,
        "seconds": round(now - reading.began, 1),
    }


def _owner_of(value: bytes) -> str | None:
    try:
        record = decode_record(OWNER_KEY, value)
    except HeadraceError:
        return None
    return getattr(record, "transactional_id", None)

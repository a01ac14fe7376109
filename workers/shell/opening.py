"""Opens partitions that were assigned: nothing of one is read before it is known what was done and what was begun.

For each partition, a step in every round of the poller, so that the partitions that are worked on never wait:
    1. ask for the committed offset and its metadata
    2. ask where journal and tasks end now; what comes later is not of before
    3. nothing above the committed offset: open
    4. where does the journal begin to matter? The metadata names it; where it does not, or names a place far back, by
       the time of the first task that is not done, less `SKEW_MS`
    5. read the journal from there to its end, then open
    6. after an outage of Kafka itself, wait a little for ends of calls that other workers could not write until now
(docs/kafka-mechanics, C4.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from headrace.runtime import metrics
from headrace.runtime.kafka import headers_of, metadata_of
from headrace.schemas.codec import header_map
from headrace.schemas.completed import decode as done_spans
from headrace.schemas.completed import progress_of
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import Lane
from headrace.workers.core.journal import JournalIndex, read_note
from headrace.workers.shell.kafka_errors import ASK_AGAIN, STALE_LEADER
from headrace.workers.shell.tail import TailReader

log = structlog.get_logger("headrace.opening")

FAR_RECORDS = 10_000
"""A journal offset named further back than this was named when the lane was idle; then time is the better guide."""
SKEW_MS = 600_000
"""How far apart the clocks of orchestrators and workers may be: a journal record carries a worker's time, a task an
orchestrator's."""
LATE_ENDS_S, LATE_ENDS_EVERY_S = 3.0, 0.1
COMMITTED_TIMEOUT_S = 2.0
METADATA_TIMEOUT_S = 1.0
AGAIN_S = 1.0
UNREAD_LOGGED = 10
"""Unreadable journal records that are logged in one opening; all are counted."""
SLOW_S = 10.0

_Spec: Any = kafka_admin.OffsetSpec
_Steps = Generator[None, None, None]
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition that may be read now."""

    partition: int
    committed: int | None
    """The committed offset, or None where there is none."""
    metadata: str
    """What was committed with it."""
    journal_next: int
    """The end up to which the journal was read."""
    noted: JournalIndex
    """What it said."""
    slipped: bool
    """Whether a record was handed out before its time: the partition is to be read from its beginning again."""


@dataclass(slots=True, eq=False)
class _Opening:
    partition: int
    began: float
    patient: bool
    committed: TopicPartition | None = None
    steps: _Steps | None = None
    opened: Opened | None = None
    slipped: bool = False
    again_at: float = 0.0
    why: str = ""
    """The last error, for people."""
    read: int = 0
    unread: int = 0
    places: set[Place] = field(default_factory=set)
    """What the reader follows for it."""


class Openings:
    """The partitions of one lane that are assigned and not open yet. Everything but `trouble` is the poller's.

    Args:
        topic: the lane's task topic.
        journal: the pool's journal.
        reader: reads the journal's tail.
    """

    def __init__(
        self, *, topic: str, journal: str, pool: str, lane: Lane, reader: TailReader, admin: AdminClient
    ) -> None:
        self._topic = topic
        self._journal = journal
        self._lane = lane
        self._reader = reader
        self._admin = admin
        self._openings: dict[int, _Opening] = {}
        self._asked_at = 0.0
        self._unread = metrics.JOURNAL_UNREAD.labels(pool)

    def __len__(self) -> int:
        return len(self._openings)

    def __iter__(self) -> Iterator[int]:
        return iter(self._openings)

    def __contains__(self, partition: int) -> bool:
        return partition in self._openings

    def begin(self, partitions: Iterable[int], *, patient: bool = False) -> None:
        """Begin to open partitions, from their first step.

        Args:
            patient: whether to wait for late ends (step 6).
        """
        for partition in partitions:
            self.forget([partition])
            opening = _Opening(partition, time.monotonic(), patient)
            opening.steps = self._open(opening)
            self._openings[partition] = opening

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget partitions that were given back or lost."""
        for partition in partitions:
            if (gone := self._openings.pop(partition, None)) is not None:
                self._leave(gone)

    def slipped(self, partition: int) -> None:
        """Note that a record was handed out before the partition was open."""
        self._openings[partition].slipped = True

    def advance(self, consumer: Consumer) -> list[Opened]:
        """Go one step on with each partition; return those that are open now.

        Raises:
            DependencyUnavailable: the journal may not be read.
        """
        self._ask_committed(consumer)
        self._reader.read()
        opened = []
        for opening in list(self._openings.values()):
            assert opening.steps is not None
            next(opening.steps, None)
            if opening.opened is not None:
                del self._openings[opening.partition]
                opened.append(opening.opened)
        return opened

    def trouble(self) -> str | None:
        """Return what is wrong, or None."""
        now = time.monotonic()
        late = [one for one in list(self._openings.values()) if now - one.began > SLOW_S]
        if not late:
            return None
        parts = ", ".join(str(one.partition) for one in late)
        why = next((one.why for one in late if one.why), f"{sum(one.read for one in late)} records read")
        return f"the journal of {self._topic} partition {parts} is being read for {now - late[0].began:.0f} s: {why}"

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _ask_committed(self, consumer: Consumer) -> None:
        unknown = [one for one in self._openings.values() if one.committed is None]
        if not unknown or time.monotonic() < self._asked_at + AGAIN_S * bool(unknown[0].why):
            return
        self._asked_at = time.monotonic()
        wanted = [TopicPartition(self._topic, one.partition) for one in unknown]
        try:
            answers = {found.partition: found for found in consumer.committed(wanted, timeout=COMMITTED_TIMEOUT_S)}
        except KafkaException as error:
            for one in unknown:
                self._failed(one, error.args[0])
            return
        for one in unknown:
            found = answers[one.partition]
            if found.error:
                self._failed(one, found.error)
            else:
                one.committed, one.why = found, ""

    def _failed(self, opening: _Opening, error: Any) -> None:
        before, opening.why = opening.why, str(error.str())
        opening.again_at = time.monotonic() + AGAIN_S
        if opening.why != before and error.code() not in ASK_AGAIN:
            log.warning("partition.not_opened", topic=self._topic, partition=opening.partition, reason=opening.why)

    def _open(self, one: _Opening) -> _Steps:
        while one.committed is None:
            yield
        known = one.committed.offset if one.committed.offset >= 0 else None
        base, metadata = known or 0, metadata_of(one.committed) if known is not None else ""
        journal, tasks = (self._journal, one.partition), (self._topic, one.partition)
        ends = yield from self._ask(one, {journal: _Spec.latest(), tasks: _Spec.latest()})
        noted = JournalIndex(self._lane, base=base, done=done_spans(base, metadata))
        end = ends[journal]
        if base < ends[tasks]:
            start = yield from self._start(one, base, progress_of(base, metadata).journal, end)
            yield from self._read(one, noted, start, end)
            if one.patient:
                end = yield from self._read_late_ends(one, noted, end)
        one.opened = Opened(one.partition, known, metadata, end, noted, one.slipped)
        self._note(one, noted)

    def _ask(self, one: _Opening, wanted: dict[Place, Any]) -> Generator[None, None, dict[Place, int]]:
        """Ask the broker for offsets until it answers, without waiting in between."""
        while True:
            specs = {TopicPartition(*place): spec for place, spec in wanted.items()}
            futures = self._admin.list_offsets(specs, request_timeout=5.0)
            while not all(future.done() for future in futures.values()):
                yield
            try:
                answers = _known(futures)
            except KafkaException as error:
                self._failed(one, error.args[0])
                if error.args[0].code() in STALE_LEADER:
                    self._look_for_leaders(wanted)
                yield
                while time.monotonic() < one.again_at:
                    yield
            else:
                one.why = ""
                return answers

    def _look_for_leaders(self, wanted: Iterable[Place]) -> None:
        with suppress(KafkaException):
            for topic in dict.fromkeys(topic for topic, _ in wanted):
                self._admin.list_topics(topic, timeout=METADATA_TIMEOUT_S)

    def _start(self, one: _Opening, base: int, named: int | None, end: int) -> Generator[None, None, int]:
        """Return from where the journal is to be read."""
        if named is not None and 0 <= end - named <= FAR_RECORDS:
            return named
        at_ms = yield from self._first_time(one, base)
        if at_ms is None:
            return end
        place = (self._journal, one.partition)
        answer = yield from self._ask(one, {place: _Spec.for_timestamp(max(0, at_ms - SKEW_MS))})
        by_time = answer[place] if answer[place] >= 0 else end
        return max(by_time, named) if named is not None and named <= end else by_time

    def _first_time(self, one: _Opening, base: int) -> Generator[None, None, int | None]:
        """Return the timestamp of the first record that is not done; None where markers are all that is left."""
        found: list[Message] = []
        self._follow(one, self._topic, base, found.append)
        while not found:
            yield
        self._leave(one)
        return None if found[0].error() is not None else found[0].timestamp()[1]

    def _read(self, one: _Opening, noted: JournalIndex, start: int, end: int) -> _Steps:
        """Read the journal up to ``end``."""
        reached = start

        def take(message: Message) -> None:
            nonlocal reached
            offset = message.offset()
            if message.error() is None:
                assert offset is not None
                self._take(one, noted, message, offset)
                offset += 1
            reached = max(reached, offset or 0)

        if start < end:
            self._follow(one, self._journal, start, take)
        while reached < end:
            yield
        self._leave(one)

    def _read_late_ends(self, one: _Opening, noted: JournalIndex, end: int) -> Generator[None, None, int]:
        """Read on while calls without an end are known, for a while; return up to where it was read."""
        place, deadline = (self._journal, one.partition), time.monotonic() + LATE_ENDS_S
        while noted.counts()[1] and (now := time.monotonic()) < deadline:
            later = (yield from self._ask(one, {place: _Spec.latest()}))[place]
            yield from self._read(one, noted, end, later)
            end = max(end, later)
            yield
            while noted.counts()[1] and time.monotonic() < now + LATE_ENDS_EVERY_S:
                yield
        return end

    def _take(self, one: _Opening, noted: JournalIndex, message: Message, offset: int) -> None:
        """Take one record of the journal; one that cannot be read is passed over: it stops nothing."""
        one.read += 1
        value = message.value()
        try:
            note = read_note(value, header_map(headers_of(message)))
        except ContractError as error:
            self._unread.inc()
            one.unread += 1
            if one.unread <= UNREAD_LOGGED:
                place = {"topic": self._journal, "partition": one.partition, "offset": offset}
                log.warning("journal.unread", **place, reason=error.kind, message=error.message[:300])
            return
        noted.add(note, at=offset, size_bytes=len(value or b""))

    def _follow(self, one: _Opening, topic: str, offset: int, take: Callable[[Message], None]) -> None:
        one.places.add((topic, one.partition))
        self._reader.follow(topic, one.partition, offset, take)

    def _leave(self, one: _Opening) -> None:
        while one.places:
            self._reader.leave(*one.places.pop())

    def _note(self, one: _Opening, noted: JournalIndex) -> None:
        answered, begun = noted.counts()
        level = log.info if one.read else log.debug
        level(
            "partition.opened",
            topic=self._topic,
            partition=one.partition,
            journal_records=one.read,
            answered=answered,
            begun=begun,
            ms=round((time.monotonic() - one.began) * 1_000),
        )


def _known(futures: Mapping[TopicPartition, Any]) -> dict[Place, int]:
    """Return the answers; -1, that no record is so late, is one.

    Raises:
        KafkaException: there is none. While a leader is being replaced, Kafka's client answers -1001 and no error
            (found by tests/chaos: the journal was taken for empty, and calls were made once more).
    """
    found = {(part.topic, part.partition): int(future.result().offset) for part, future in futures.items()}
    if OFFSET_INVALID in found.values():
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return found

"""What was read from ``jobs`` and ``results`` and is not decided yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.kafka import headers_of
from headrace.runtime.letters import Source
from headrace.schemas.errors import Fenced, SessionLost

log = structlog.get_logger("headrace.orchestrator")

SEEK_S = 5.0
COMPLAINT_S = 5.0
"""How long an error of the consumer counts as its state: what lasts, it repeats every half second."""
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE})
"""What the client mends by itself; that Kafka is away is `KafkaWatch`'s to say."""


class Read(NamedTuple):
    """A record and its timestamp."""

    source: Source
    at_ms: int


class Input:
    """Reads the consumer and keeps the records of the batch until they are committed.

    A batch that was aborted is decided again from what is in hand: the records are the same, so nothing is fetched
    twice, and no seek throws the prefetch away. Only what comes with a new assignment or a lost session is read anew.

    Args:
        membership: has the group's consumer.
        assignment: tells which records are of a partition that came or went meanwhile.
        working: the partitions that are worked.
        topics: of jobs and results.
    """

    def __init__(
        self, membership: Membership, *, assignment: Assignment, working: Mapping[int, Partition], results: str
    ) -> None:
        self._membership = membership
        self._assignment = assignment
        self._working = working
        self.results = results
        self._queue: deque[Read] = deque()
        self._taken: list[Read] = []
        self._aside: list[Read] = []
        self._held: set[tuple[str, int]] = set()
        """Topic and partition of records that cannot be decided in this round; what follows them there waits too."""
        self._paused: set[tuple[str, int]] = set()
        """Those of which no more records come until the first is decided."""
        self._complained_at = 0.0
        self._complaint = ""
        self._misplaced: dict[int, None] = {}

    @property
    def consumer(self) -> Any:
        """The consumer of this moment."""
        return self._membership.consumer

    def poll(self, timeout_s: float, room: int) -> None:
        """Read what there is: wait for one record, then take what the client has already (kafka-mechanics C1)."""
        if room <= 0:
            self.serve(0.0)
            return
        epochs = {p: self._assignment.epoch(p) for p in self._working}
        first = self.consumer.poll(timeout_s)
        if first is None:
            return
        self._accept(first, epochs)
        for message in self.consumer.consume(room, 0):
            self._accept(message, epochs)

    def serve(self, timeout_s: float) -> None:
        """Follow rebalances while there is no room for records: all is read again from where it was decided."""
        epochs = {p: self._assignment.epoch(p) for p in self._working}
        message = self.consumer.poll(timeout_s)
        if message is not None:
            self._accept(message, epochs)

    def wait(self, timeout_s: float, room: int) -> None:
        """Wait that long, and follow rebalances meanwhile as far as there is room for the records that come along."""
        deadline = time.monotonic() + timeout_s
        while room > 0 and (left := deadline - time.monotonic()) > 0:
            before = self.waiting()
            self.serve(left)
            room -= self.waiting() - before
        time.sleep(max(0.0, deadline - time.monotonic()))

    def _accept(self, message: Any, epochs: Mapping[int, int]) -> None:
        error = message.error()
        if error is not None:
            self._complain(error, message)
            return
        topic, p, offset = message.topic(), message.partition(), message.offset()
        partition = self._working.get(p)
        # A record of a partition whose epoch changed during the call belongs to another life of it (B2).
        if partition is None or epochs.get(p) != self._assignment.epoch(p) or offset < partition.next[topic]:
            return
        source = Source(topic, p, offset, message.key(), message.value(), headers_of(message))
        self._queue.append(Read(source, message.timestamp()[1]))

    def _complain(self, error: KafkaError, message: Any) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if code == KafkaError._AUTO_OFFSET_RESET:
            # The log has no record of that offset: retention took it unread, or a log was cut. The client stops there.
            log.error("offset.gone", topic=message.topic(), partition=message.partition(), error=error.str())
            self._misplaced[message.partition()] = None
            return
        if error.fatal() or code == KafkaError._FATAL:
            # librdkafka hands fatal errors to `poll` as _FATAL, the cause in the text, `fatal()` False (measured).
            self._membership.broken = True
            raise Fenced(f"the consumer cannot go on: {error.str()}")
        if code in _PASSING:
            return
        now = time.monotonic()
        if error.str() != self._complaint or now - self._complained_at > COMPLAINT_S:
            log.warning("consumer.complained", error=error.str(), topic=message.topic(), partition=message.partition())
        self._complaint, self._complained_at = error.str(), now

    def complaint(self) -> str | None:
        """Return why records do not come, or None."""
        fresh = self._complaint and time.monotonic() - self._complained_at <= COMPLAINT_S
        return f"jobs or results cannot be read: {self._complaint}" if fresh else None

    def misplaced(self) -> list[int]:
        """Return the partitions that must find their place again, since the last call."""
        found = list(self._misplaced)
        self._misplaced.clear()
        return found

    def take(self) -> Read | None:
        """Return the next record to decide; it stays in hand until `applied`. What is held is passed over."""
        while self._queue:
            read = self._queue.popleft()
            if _place(read) in self._held:
                self._aside.append(read)
                continue
            self._taken.append(read)
            return read
        return None

    def ahead(self, most: int) -> list[Read]:
        """Return the next results that lie in a row and have one key, at most so many; fewer than two are none.

        They stay where they are; those that are decided are then taken by `took`.
        """
        queue = self._queue
        if len(queue) < 2 or most < 2:
            return []
        first, second = queue[0].source, queue[1].source
        if first.topic != self.results or first.key != second.key or _place(queue[0]) in self._held:
            return []
        found = []
        for read in islice(queue, most):
            source = read.source
            if source.key != first.key or source.partition != first.partition or source.topic != first.topic:
                break
            found.append(read)
        return found

    def took(self, count: int) -> None:
        """The next so many records are decided; they stay in hand until `applied`."""
        self._taken += [self._queue.popleft() for _ in range(count)]

    def set_back(self) -> None:
        """What was taken last cannot be decided yet: its topic and partition wait, the others go on."""
        read = self._taken.pop()
        self._held.add(_place(read))
        self._aside.append(read)

    def release(self, most: int) -> int:
        """What was held comes first in the next round; return how many records that is.

        Args:
            most: above it, no more records of those places come. They come up to it, as the client throws away what it
                has fetched when it is paused.
        """
        count = len(self._aside)
        if self._paused or count > most:
            self._pause(self._held if count > most else self._paused & self._held)
        self._queue.extendleft(reversed(self._aside))
        self._aside.clear()
        self._held.clear()
        return count

    def _pause(self, places: set[tuple[str, int]]) -> None:
        try:
            self.consumer.pause([TopicPartition(*place) for place in sorted(places - self._paused)])
            self.consumer.resume([TopicPartition(*place) for place in sorted(self._paused - places)])
        except KafkaException as error:
            log.warning("pause.failed", error=error.args[0].str())
        self._paused = set(places)

    def applied(self) -> None:
        """What was taken is committed."""
        self._taken.clear()

    def untake(self) -> int:
        """What was taken is to be decided again; return how many records that is."""
        count = len(self._taken)
        self._queue.extendleft(reversed(self._taken))
        self._taken.clear()
        return count

    def drop(self, partition: int) -> None:
        """Forget records of a partition that came or went."""
        self._queue = deque(read for read in self._queue if read.source.partition != partition)
        self._paused = {place for place in self._paused if place[1] != partition}

    def in_hand(self) -> Iterable[Read]:
        """Return the records that are read and not decided."""
        return self._queue

    def waiting(self) -> int:
        """Return how many records are read and not decided."""
        return len(self._queue)

    def unread(self) -> frozenset[int]:
        """Return the partitions of which results are read and not decided."""
        waiting = (*self._queue, *self._aside)
        return frozenset(read.source.partition for read in waiting if read.source.topic == self.results)

    def start(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Go to the first offsets of a restored partition and let its records come.

        Raises:
            SessionLost: the client does not seek; this consumer is of no use any more.
        """
        places = [TopicPartition(topic, partition, offset) for topic, offset in offsets.items()]
        deadline = time.monotonic() + SEEK_S
        for place in places:
            while True:
                try:
                    self.consumer.seek(place)
                    break
                except KafkaException as error:
                    # "Erroneous state" while a fresh assignment has not begun to fetch, and for ever where fetching
                    # ended at an offset that is gone (librdkafka 2.16): only a new assignment mends that.
                    if time.monotonic() > deadline:
                        self._membership.broken = True
                        raise SessionLost(f"seek: {error.args[0].str()}") from None
                    time.sleep(0.005)
        self._assignment.began_at(partition, offsets)
        self.consumer.resume([TopicPartition(topic, partition) for topic in offsets])

    def hold(self, partition: int, topics: list[str]) -> None:
        """Let no more records of a partition come."""
        try:
            self.consumer.pause([TopicPartition(topic, partition) for topic in topics])
        except KafkaException as error:
            log.warning("pause.failed", partition=partition, error=error.args[0].str())


def _place(read: Read) -> tuple[str, int]:
    return read.source.topic, read.source.partition

"""What was read from ``jobs`` and ``results`` and is not decided yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.letters import Source, source_of
from headrace.schemas.errors import DependencyUnavailable, SessionError

log = structlog.get_logger("headrace.orchestrator")

SEEK_S = 5.0


@dataclass(frozen=True, slots=True)
class Read:
    """A record and its timestamp."""

    source: Source
    at_ms: int


class Input:
    """Reads the consumer and keeps the records of the batch until they are committed.

    A batch that was aborted is decided again from what is in hand: the records are the same, so nothing is fetched
    twice, and no seek throws the prefetch away. Only what comes with a new assignment or a lost session is read anew.

    Args:
        consumer: the group's consumer.
        assignment: tells which records are of a partition that came or went meanwhile.
        working: the partitions that are worked.
        topics: of jobs and results.
    """

    def __init__(
        self, consumer: Any, *, assignment: Assignment, working: Mapping[int, Partition], results: str
    ) -> None:
        self.consumer = consumer
        self._assignment = assignment
        self._working = working
        self._results = results
        self._queue: deque[Read] = deque()
        self._taken: list[Read] = []

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
        self._queue.append(Read(source_of(message), message.timestamp()[1]))

    def _complain(self, error: KafkaError, message: Any) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if error.fatal() or code == KafkaError._FATAL:
            # librdkafka hands fatal errors to `poll` as _FATAL, the cause in the text, `fatal()` False (measured).
            raise SessionError(f"the consumer cannot go on: {error.str()}", _hint(error.str()))
        if code not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT):
            log.warning("consumer.complained", error=error.str(), topic=message.topic(), partition=message.partition())

    def take(self) -> Read | None:
        """Return the next record to decide; it stays in hand until `applied`."""
        if not self._queue:
            return None
        read = self._queue.popleft()
        self._taken.append(read)
        return read

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

    def waiting(self) -> int:
        """Return how many records are read and not decided."""
        return len(self._queue)

    def unread(self) -> frozenset[int]:
        """Return the partitions of which results are read and not decided."""
        return frozenset(read.source.partition for read in self._queue if read.source.topic == self._results)

    def start(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Go to the first offsets of a restored partition and let its records come.

        Raises:
            DependencyUnavailable: the client does not seek.
        """
        places = [TopicPartition(topic, partition, offset) for topic, offset in offsets.items()]
        deadline = time.monotonic() + SEEK_S
        for place in places:
            while True:
                try:
                    self.consumer.seek(place)
                    break
                except KafkaException as error:
                    # "Erroneous state" while a fresh assignment has not begun to fetch.
                    if time.monotonic() > deadline:
                        raise DependencyUnavailable(f"seek: {error.args[0].str()}") from None
                    time.sleep(0.005)
        self.consumer.resume([TopicPartition(topic, partition) for topic in offsets])

    def hold(self, partition: int, topics: list[str]) -> None:
        """Let no more records of a partition come."""
        try:
            self.consumer.pause([TopicPartition(topic, partition) for topic in topics])
        except KafkaException as error:
            log.warning("pause.failed", partition=partition, error=error.args[0].str())


def _hint(text: str) -> str:
    if "instance" in text.lower():
        return (
            "another process runs under this slot: give each its own (--slot); or one was killed a moment ago under "
            "KIP-848, where its place is free only after its session: start again"
        )
    return ""

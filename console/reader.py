"""Reads topics without a group: what the console shows is on Kafka, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.runtime.kafka import reader_config
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch

Place = tuple[str, int]
"""Topic and partition."""

_BATCH = 2_000


class TopicReader:
    """A consumer of partitions assigned by hand, committed records only.

    Args:
        settings: how to reach Kafka.
        service: for ``client.id``.
    """

    def __init__(self, settings: Settings, service: str = "console") -> None:
        self._consumer = Consumer(reader_config(settings, service))
        self._at_end: set[Place] = set()
        self._assigned: set[Place] = set()

    def partitions(self, topic: str, timeout_s: float = 10.0) -> int:
        """Return a topic's partition count.

        Raises:
            TopicMismatch: there is no such topic.
            DependencyUnavailable: Kafka does not answer.
        """
        try:
            found = self._consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka does not answer: {error.args[0].str()}", "see headrace doctor"
            ) from None
        if found.error is not None or not found.partitions:
            raise TopicMismatch(f"topic {topic} is not there", "is the prefix right? else: headrace topics apply")
        return len(found.partitions)

    def end(self, place: Place, timeout_s: float = 10.0) -> int:
        """Return the offset after the last committed record of a partition."""
        return self._watermarks(place, timeout_s)[1]

    def _watermarks(self, place: Place, timeout_s: float) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=timeout_s)
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka does not answer: {error.args[0].str()}", "see headrace doctor"
            ) from None
        return low, high

    def assign(self, offsets: dict[Place, int]) -> None:
        """Read these partitions from these offsets (``OFFSET_BEGINNING`` allowed)."""
        self._assigned = set(offsets)
        self._at_end = set()
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in offsets.items()])

    @property
    def at_end(self) -> bool:
        """Whether every partition has been read to its committed end once since `assign`."""
        return self._at_end >= self._assigned

    def read(self, timeout_s: float) -> list[Any]:
        """Return what is there, waiting at most this long for the first record.

        ``consume(n, t)`` would wait the whole time for n records (kafka-mechanics C1), so it is only asked for what
        lies ready.

        Raises:
            DependencyUnavailable: an error that does not pass by itself.
        """
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        return [message for message in (first, *self._consumer.consume(_BATCH, 0)) if self._is_record(message)]

    def _is_record(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end.add((message.topic(), message.partition()))
        elif not error.retriable() and error.code() not in _PASSING:
            raise DependencyUnavailable(f"reading {message.topic()}: {error.str()}", "see headrace doctor")
        return False

    def close(self) -> None:
        """Leave; nothing is committed."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})


def scan(
    reader: TopicReader, offsets: dict[Place, int], *, keep: Callable[[bytes | None], bool], timeout_s: float = 60.0
) -> Iterator[Any]:
    """Yield the records with such keys, from the offsets to the committed end as it is reached.

    Raises:
        DependencyUnavailable: the end was not reached in time.
    """
    reader.assign(offsets)
    deadline = time.monotonic() + timeout_s
    while not reader.at_end:
        yield from (message for message in reader.read(0.5) if keep(message.key()))
        if time.monotonic() > deadline:
            raise DependencyUnavailable(f"{_named(offsets)} could not be read to the end within {timeout_s:.0f} s")


def _named(places: Iterable[Place]) -> str:
    return ", ".join(sorted({topic for topic, _ in places}))

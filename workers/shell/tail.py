"""Reads parts of topics on the side, without a group: one consumer, opened when there is something to read.

It is read a little in every round of the poller, so that the partitions which are worked on never wait for it.
"""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from headrace.runtime.kafka import ClientConfig
from headrace.workers.shell.kafka_errors import look_at

READ_RECORDS = 1_000
READ_S = 0.01
READER_OPTIONS: ClientConfig = {"queued.max.messages.kbytes": 8_192, "fetch.queue.backoff.ms": 5}

Taker = Callable[[Message], None]
"""Takes a record, or the event that a partition is read to its end."""


class TailReader:
    """Follows partitions from given offsets and hands each record to who asked for it.

    Args:
        config: options of a reader that reports the ends of partitions.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._consumer: Consumer | None = None
        self._takers: dict[tuple[str, int], Taker] = {}

    def follow(self, topic: str, partition: int, offset: int, take: Taker) -> None:
        """Read a partition from an offset on; where that is gone, from its beginning."""
        if self._consumer is None:
            self._consumer = Consumer({**self._config, **READER_OPTIONS})
        self._takers[topic, partition] = take
        self._consumer.incremental_assign([TopicPartition(topic, partition, offset)])

    def leave(self, topic: str, partition: int) -> None:
        """Read a partition no more."""
        if self._takers.pop((topic, partition), None) is not None and self._consumer is not None:
            self._consumer.incremental_unassign([TopicPartition(topic, partition)])

    def read(self) -> None:
        """Read a little.

        Raises:
            DependencyUnavailable: a topic is gone or may not be read.
        """
        if self._consumer is None:
            return
        if not self._takers:
            self.close()
            return
        for message in self._consumer.consume(READ_RECORDS, READ_S):
            topic, error = message.topic() or "", message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                look_at(error, topic)
                continue
            taker = self._takers.get((topic, -1 if (partition := message.partition()) is None else partition))
            if taker is not None:
                taker(message)

    def close(self) -> None:
        """Let go of the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        self._takers.clear()

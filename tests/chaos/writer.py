"""Writes to ``jobs`` until Kafka has acknowledged: what is not known to be there is written once more, as it was."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.runtime.settings import Settings
from headrace.schemas.ids import home_partition
from tests.chaos.clients import writer

AGAIN_S = 0.5

Acknowledged = Callable[[int, int], None]
"""Told the partition and offset."""


class JobWriter:
    """Serves one thread.

    Args:
        crc: with librdkafka's own partitioner, which finds the home of about one key in N.
    """

    def __init__(self, settings: Settings, *, crc: bool = False) -> None:
        self._settings = settings
        self._crc = crc
        self._producer = Producer(writer(settings, crc=crc))
        self._broken = False
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.outstanding = 0
        """Records that are neither acknowledged nor given up."""
        self.unknown = 0
        """How often an acknowledgement did not come."""

    def write(
        self, key: str | None, value: bytes, done: Acknowledged, gave_up: Callable[[], None] | None = None
    ) -> None:
        """Write a record.

        Args:
            done: called when it is acknowledged.
            gave_up: called when it is not known whether it was written; None writes it again.
        """
        self.outstanding += 1
        self._write(key, value, done, gave_up)

    def poll(self, timeout_s: float) -> None:
        """Take acknowledgements; write again what is due."""
        self._producer.poll(timeout_s)
        if self._broken:  # An idempotent producer that lost the order of its records can only be made anew.
            self._producer.purge()
            self._producer.flush(1)
            self._producer, self._broken = Producer(writer(self._settings, crc=self._crc)), False
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    def close(self) -> None:
        """Wait a moment for what is out."""
        self._producer.flush(5)

    def _write(self, key: str | None, value: bytes, done: Acknowledged, gave_up: Callable[[], None] | None) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.outstanding -= 1
                done(message.partition() or 0, message.offset() or 0)
                return
            self._broken = self._broken or error.fatal()
            self.unknown += 1
            if gave_up is not None:
                self.outstanding -= 1
                gave_up()
                return
            heapq.heappush(self._later, (time.monotonic() + AGAIN_S, next(self._order), again))

        def again() -> None:
            self._write(key, value, done, gave_up)

        place = -1 if self._crc or key is None else home_partition(key, self._settings.topics.partitions)
        try:
            self._producer.produce(
                self._settings.topic_names.jobs,
                value,
                None if key is None else key.encode(),
                place,
                on_delivery=delivered,
            )
        except (KafkaException, BufferError) as error:
            self._broken = isinstance(error, KafkaException)
            heapq.heappush(self._later, (time.monotonic() + AGAIN_S, next(self._order), again))

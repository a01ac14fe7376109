"""Reads ``outcomes`` as they are committed, and notes when each job's first one could be read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from headrace.runtime.settings import Settings
from tests.chaos.clients import reader


class OutcomeTail:
    """A thread of its own. A context manager.

    Args:
        now_s: the run's clock.
    """

    def __init__(self, settings: Settings, now_s: Callable[[], float]) -> None:
        self._settings = settings
        self._now_s = now_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="chaos-tail", daemon=True)
        self.seen: dict[str, float] = {}
        """When each job's first outcome could be read. Only grows."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join(10)

    def _read(self) -> None:
        consumer = Consumer(reader(self._settings))
        topic, count = self._settings.topic_names.outcomes, self._settings.topics.partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(count)])
        while not self._closing.is_set():
            for message in consumer.consume(500, 0.05):
                key = message.key()
                if message.error() is None and key is not None:
                    self.seen.setdefault(key.decode("utf-8", "replace"), self._now_s())
        consumer.close()

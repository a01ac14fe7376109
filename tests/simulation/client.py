"""What every client has: its process, a place to wait, reports and errors that wait for the next poll."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from tests.simulation import scene
from tests.simulation.network import kafka_error
from tests.simulation.process import Thread


class Offset:
    """A TopicPartition as the client answers it; the real one's ``error`` cannot be set."""

    __slots__ = ("error", "metadata", "offset", "partition", "topic")

    def __init__(
        self, topic: str, partition: int, offset: int, metadata: str | None = None, error: KafkaError | None = None
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.metadata = metadata
        self.error = error


class ErrorMessage:
    """A message that is an event or an error."""

    __slots__ = ("_error", "_offset", "_partition", "_topic")

    def __init__(self, error: KafkaError, topic: str | None, partition: int | None, offset: int | None) -> None:
        self._error = error
        self._topic = topic
        self._partition = partition
        self._offset = offset

    def error(self) -> KafkaError:
        return self._error

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def key(self) -> None:
        return None

    value = headers = key


class Client:
    """Base of the simulated clients."""

    def __init__(self, config: dict[str, Any]) -> None:
        stage = scene.current()
        self.world = stage.world
        self.cluster = stage.cluster
        self.process = stage.world.boundary().process
        self.config = config
        self.reports: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        """Callbacks that are due at the next poll."""
        self.errors: deque[ErrorMessage] = deque()
        self._faults = stage.faults
        self._waiting: Thread | None = None
        self.process.when_dead.append(self.dead)

    def more(self) -> None:
        """There may be something to poll: wake who waits for it."""
        thread, self._waiting = self._waiting, None
        if thread is not None and self.process.alive:
            thread.wake(self.cluster.network.delay_us() >> 1)

    def wait(self, thread: Thread, timeout_us: int) -> None:
        """Wait until there is more, or the time is over."""
        self._waiting = thread
        thread.pause(timeout_us)
        self._waiting = None

    def complain(self, code: int) -> None:
        """Hand out an error with the next poll."""
        self.errors.append(ErrorMessage(kafka_error(code), None, None, None))
        self.more()

    def trouble(self, call: str) -> None:
        """Fail now and then, in ways that change nothing and may be tried again.

        Raises:
            KafkaException: a passing error.
        """
        if (code := self._faults.passing_error(call)) is not None:
            self.world.note(f"{call} fails in passing: {code}")
            raise KafkaException(kafka_error(code, retriable=True))

    def dead(self) -> None:
        """The process is gone: so are its connections."""

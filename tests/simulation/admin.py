"""``confluent_kafka.admin.AdminClient`` on the simulated cluster, as far as production code uses it.

Calls return futures at once, as the real one's do; only `list_topics` waits for its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import admin as kafka_admin

from tests.simulation.client import Client, Offset
from tests.simulation.cluster import MAX_MESSAGE_BYTES
from tests.simulation.network import Lost, kafka_error
from tests.simulation.process import Thread
from tests.simulation.world import World

_Spec: Any = kafka_admin.OffsetSpec
AGAIN_US = 50_000


class Question:
    """What is asked of the broker, and who waits for its answer."""

    def __init__(self, world: World) -> None:
        self.found: Any = None
        self.done = False
        self._world = world
        self._waiters: list[Thread] = []

    def settle(self, found: Any) -> None:
        """Note the answer, or the error that takes its place."""
        self.found, self.done = found, True
        for waiter in self._waiters:
            waiter.wake()

    def wait(self) -> Any:
        """Return the answer, as soon as it is here."""
        thread = self._world.boundary()
        while not self.done:
            self._waiters.append(thread)
            thread.pause()
            self._waiters.remove(thread)
        self._world.boundary()
        if isinstance(self.found, KafkaException):
            raise self.found
        return self.found


class Future:
    """One part of an answer."""

    def __init__(self, question: Question, key: Any) -> None:
        self._question = question
        self._key = key

    def done(self) -> bool:
        return self._question.done

    def result(self, timeout: float | None = None) -> Any:
        return self._question.wait()[self._key]


class AdminClient(Client):
    """One admin client."""

    def poll(self, timeout: float = 0.0) -> int:
        self.world.boundary()
        return 0

    def list_topics(self, topic: str | None = None, timeout: float = -1.0) -> Any:
        topics = {
            name: SimpleNamespace(topic=name, error=None, partitions={log.partition: log for log in logs})
            for name, logs in self.cluster.topics.items()
        }
        return self._ask("list_topics", timeout, lambda: SimpleNamespace(topics=topics, brokers={1: None})).wait()

    def list_offsets(self, wanted: dict[Any, Any], *, request_timeout: float = 10.0, **_: Any) -> dict[Any, Future]:
        def serve() -> dict[Any, Any]:
            return {tp: SimpleNamespace(offset=self._offset(tp, spec)) for tp, spec in wanted.items()}

        return self._futures("list_offsets", wanted, request_timeout, serve)

    def _offset(self, tp: Any, spec: Any) -> int:
        log = self.cluster.log(tp.topic, tp.partition)
        entries = log.entries
        if spec is _Spec.earliest():
            return 0
        if spec is _Spec.latest():
            log.ends_told.append((self.process.name, self.world.now_us))
            return len(entries)
        later = (at for at, e in enumerate(entries) if e is not None and e.timestamp()[1] >= spec._value)
        return next(later, -1)

    def list_consumer_group_offsets(self, wanted: list[Any], *, request_timeout: float = 10.0, **_: Any) -> Any:
        def serve() -> dict[str, Any]:
            found = {}
            for name in names:
                offsets = self.cluster.group(name).offsets.items()
                partitions = [Offset(*place, one.offset, one.metadata) for place, one in offsets]
                found[name] = SimpleNamespace(group_id=name, topic_partitions=partitions)
            return found

        names = [each.group_id for each in wanted]
        return self._futures("list_consumer_group_offsets", names, request_timeout, serve)

    def describe_configs(self, resources: list[Any], *, request_timeout: float = 10.0) -> dict[Any, Future]:
        value = {"max.message.bytes": SimpleNamespace(value=str(MAX_MESSAGE_BYTES))}
        return self._futures("describe_configs", resources, request_timeout, lambda: dict.fromkeys(resources, value))

    def _futures(self, what: str, wanted: Iterable[Any], timeout: float, serve: Callable[[], Any]) -> dict[Any, Future]:
        question = self._ask(what, timeout, serve)
        return {each: Future(question, each) for each in wanted}

    def _ask(self, what: str, timeout: float, serve: Callable[[], Any]) -> Question:
        """Ask in the background, again where the connection breaks, until the time is over."""
        self.world.boundary()
        question = Question(self.world)
        deadline_us = self.world.now_us + int(timeout * 1e6)
        try:
            self.trouble(what)
        except KafkaException as error:
            self.world.at(self.cluster.network.delay_us(), question.settle, error, process=self.process)
            return question

        def answer(found: Any) -> None:
            if not isinstance(found, Lost):
                question.settle(found)
            elif self.world.now_us >= deadline_us:
                question.settle(KafkaException(kafka_error(KafkaError._TIMED_OUT, retriable=True)))
            else:
                self.world.at(AGAIN_US, ask, process=self.process)

        def ask() -> None:
            self.cluster.network.send(self.process, serve, (), answer)

        ask()
        return question

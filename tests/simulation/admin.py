"""``confluent_kafka.admin.AdminClient`` on the simulated cluster, as far as production code uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import OffsetSpec

from tests.simulation.client import Client, Offset
from tests.simulation.cluster import MAX_MESSAGE_BYTES
from tests.simulation.network import Lost, kafka_error

EarliestSpec = type(OffsetSpec.earliest())


class Answer:
    """A future that is done."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self, timeout: float | None = None) -> Any:
        if isinstance(self._value, KafkaException):
            raise self._value
        return self._value


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
        return self._ask("list_topics", timeout, lambda: SimpleNamespace(topics=topics, brokers={1: None}))

    def list_offsets(self, wanted: dict[Any, Any], *, request_timeout: float = 10.0, **_: Any) -> dict[Any, Answer]:
        def serve() -> dict[Any, Any]:
            return {tp: SimpleNamespace(offset=self._end_of(tp, spec)) for tp, spec in wanted.items()}

        return self._futures("list_offsets", wanted, request_timeout, serve)

    def _end_of(self, tp: Any, spec: Any) -> int:
        return 0 if isinstance(spec, EarliestSpec) else len(self.cluster.log(tp.topic, tp.partition).entries)

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

    def describe_configs(self, resources: list[Any], *, request_timeout: float = 10.0) -> dict[Any, Answer]:
        value = {"max.message.bytes": SimpleNamespace(value=str(MAX_MESSAGE_BYTES))}
        return self._futures("describe_configs", resources, request_timeout, lambda: dict.fromkeys(resources, value))

    def _futures(self, what: str, wanted: Iterable[Any], timeout: float, serve: Callable[[], Any]) -> dict[Any, Answer]:
        """Ask, and hand the answers or the one error out as futures."""
        try:
            found = self._ask(what, timeout, serve)
        except KafkaException as error:
            return {each: Answer(error) for each in wanted}
        return {each: Answer(found[each]) for each in wanted}

    def _ask(self, what: str, timeout: float, serve: Callable[[], Any]) -> Any:
        deadline_us = self.world.now_us + int(timeout * 1e6)
        self.trouble(what)
        while True:
            try:
                return self.cluster.network.ask(serve)
            except Lost:
                if self.world.now_us >= deadline_us:
                    raise KafkaException(kafka_error(KafkaError._TIMED_OUT, retriable=True)) from None

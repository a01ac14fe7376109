"""First and next offsets of partitions, as Kafka tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from headrace.schemas.errors import DependencyUnavailable

Place = tuple[str, int]
"""A topic and a partition."""

_Spec: Any = kafka_admin.OffsetSpec

_STALE = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._NOENT,
    }
)
"""The client asked a leader of yesterday. It does not look again by itself for five minutes (librdkafka 2.16, measured:
after a broker's restart each request failed with FENCED_LEADER_EPOCH until something else read the metadata)."""


def ends(admin: AdminClient, places: Iterable[Place], *, timeout_s: float = 10.0) -> dict[Place, int]:
    """Return where each log ends: the next offset to be written, open transactions included.

    The watermark of a read_committed consumer is the last stable offset instead (kafka-mechanics B3).

    Raises:
        DependencyUnavailable: Kafka does not answer, or a topic is not there.
    """
    return _ask(admin, places, _Spec.latest(), timeout_s)


def stable_ends(admin: AdminClient, places: Iterable[Place], *, timeout_s: float = 10.0) -> dict[Place, int]:
    """Return where a ``read_committed`` reader of each log stands now: before what open transactions wrote.

    Raises:
        DependencyUnavailable: Kafka does not answer, or a topic is not there.
    """
    return _ask(admin, places, _Spec.latest(), timeout_s, isolation_level=IsolationLevel.READ_COMMITTED)


def beginnings(admin: AdminClient, places: Iterable[Place], *, timeout_s: float = 10.0) -> dict[Place, int]:
    """Return the first offset that each log still has.

    Raises:
        DependencyUnavailable: Kafka does not answer, or a topic is not there.
    """
    return _ask(admin, places, _Spec.earliest(), timeout_s)


def _ask(admin: AdminClient, places: Iterable[Place], spec: Any, timeout_s: float, **how: Any) -> dict[Place, int]:
    wanted = {TopicPartition(topic, partition): spec for topic, partition in places}
    if not wanted:
        return {}
    try:
        try:
            return _answers(admin, wanted, timeout_s, **how)
        except KafkaException as error:
            if error.args[0].code() not in _STALE:
                raise
            for topic in dict.fromkeys(place.topic for place in wanted):
                admin.list_topics(topic, timeout=timeout_s)
            return _answers(admin, wanted, timeout_s, **how)
    except KafkaException as error:
        raise DependencyUnavailable(f"offsets cannot be read: {error.args[0].str()}") from None


def _answers(admin: AdminClient, wanted: dict[TopicPartition, Any], timeout_s: float, **how: Any) -> dict[Place, int]:
    answers = admin.list_offsets(wanted, request_timeout=timeout_s, **how)
    found = {(tp.topic, tp.partition): future.result().offset for tp, future in answers.items()}
    if unknown := [f"{topic}[{p}]" for (topic, p), offset in found.items() if offset < 0]:
        # Seen while a partition's leader was being replaced: no error, and -1001 for an offset. Taken for an end, it
        # made an orchestrator believe that its log was cut off, and begin nowhere (found by tests/chaos).
        raise DependencyUnavailable(f"offsets are not known yet: {', '.join(unknown)}")
    return found

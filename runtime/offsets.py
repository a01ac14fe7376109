"""First and next offsets of partitions, as Kafka tells them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from headrace.schemas.errors import DependencyUnavailable

Place = tuple[str, int]
"""A topic and a partition."""

_Spec: Any = kafka_admin.OffsetSpec


def ends(admin: AdminClient, places: Iterable[Place], *, timeout_s: float = 10.0) -> dict[Place, int]:
    """Return where each log ends: the next offset to be written, open transactions included.

    The watermark of a read_committed consumer is the last stable offset instead (kafka-mechanics B3).

    Raises:
        DependencyUnavailable: Kafka does not answer, or a topic is not there.
    """
    return _ask(admin, places, _Spec.latest(), timeout_s)


def beginnings(admin: AdminClient, places: Iterable[Place], *, timeout_s: float = 10.0) -> dict[Place, int]:
    """Return the first offset that each log still has.

    Raises:
        DependencyUnavailable: Kafka does not answer, or a topic is not there.
    """
    return _ask(admin, places, _Spec.earliest(), timeout_s)


def _ask(admin: AdminClient, places: Iterable[Place], spec: Any, timeout_s: float) -> dict[Place, int]:
    wanted = {TopicPartition(topic, partition): spec for topic, partition in places}
    if not wanted:
        return {}
    try:
        answers = admin.list_offsets(wanted, request_timeout=timeout_s)
        return {(tp.topic, tp.partition): future.result().offset for tp, future in answers.items()}
    except KafkaException as error:
        raise DependencyUnavailable(f"offsets cannot be read: {error.args[0].str()}") from None

"""The harness's own Kafka clients: they look for a broker's successor sooner than the product's do, so that a stall
that is measured is not their own."""

from __future__ import annotations

from typing import Any

from headrace.runtime.kafka import producer_config, reader_config
from headrace.runtime.settings import Settings

IMPATIENT: dict[str, Any] = {
    "socket.timeout.ms": 3_000,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "topic.metadata.refresh.interval.ms": 2_000,
    "topic.metadata.refresh.fast.interval.ms": 100,
}


def writer(settings: Settings, *, crc: bool = False) -> dict[str, Any]:
    """Return the options of an idempotent producer.

    Args:
        crc: with librdkafka's own partitioner in place of Java's.
    """
    config = {**producer_config(settings, "chaos"), **IMPATIENT, "linger.ms": 0, "message.timeout.ms": 15_000}
    return {**config, "partitioner": "consistent_random"} if crc else config


def reader(settings: Settings) -> dict[str, Any]:
    """Return the options of a reader of committed records."""
    return {**reader_config(settings, "chaos"), **IMPATIENT, "fetch.wait.max.ms": 50}

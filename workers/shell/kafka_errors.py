"""What an error of a worker's consumer means: most pass, some end the worker with a clear message."""

from __future__ import annotations

import structlog
from confluent_kafka import KafkaError

from headrace.schemas.errors import DependencyUnavailable

log = structlog.get_logger("headrace.kafka")

PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
"""librdkafka recovers from these by itself and says so every few moments."""
DENIED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
ASK_AGAIN = frozenset(
    {
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._WAIT_COORD,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
    }
)
"""Answers of a group's coordinator that the next question may not get: under KIP-848 a member's epoch moves on."""

STALE_LEADER = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._NOENT,
    }
)
"""The admin client asked a leader of yesterday, and does not look again by itself for minutes: after a broker's restart
every question fails with FENCED_LEADER_EPOCH until something reads the metadata (librdkafka 2.16, measured)."""


def look_at(error: KafkaError, topic: str) -> None:
    """Pass over what librdkafka recovers from.

    Raises:
        DependencyUnavailable: the topic is gone, or may not be read.
    """
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise DependencyUnavailable(f"topic {topic} does not exist any more", "headrace topics apply")
    if error.fatal() or error.code() in DENIED:
        raise DependencyUnavailable(f"cannot read {topic}: {error.str()}", "see docs/operations.md, ACLs")
    level = log.debug if error.code() in PASSING else log.warning
    level("poll.failed", topic=topic, reason=error.str())

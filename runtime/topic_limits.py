"""What each topic's own configuration allows: how large a record may be, how many replicas a write needs."""

from __future__ import annotations

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from headrace.runtime.settings import Settings

log = structlog.get_logger("headrace.runtime")


def max_message_bytes(admin: AdminClient, settings: Settings, pools: list[str]) -> dict[str, int]:
    """Return ``max.message.bytes`` by topic; unknown topics, or ones that may not be described, are left out."""
    return record_limits(admin, [spec.name for spec in settings.topic_names.catalogue(pools)])


def record_limits(admin: AdminClient, topics: list[str]) -> dict[str, int]:
    """Return ``max.message.bytes`` by topic; unknown topics, or ones that may not be described, are left out."""
    return _numbers(admin, topics, "max.message.bytes", 10.0)


def min_insync_replicas(admin: AdminClient, topics: list[str], *, timeout_s: float) -> dict[str, int]:
    """Return ``min.insync.replicas`` by topic; unknown topics, or ones that may not be described, are left out."""
    return _numbers(admin, topics, "min.insync.replicas", timeout_s)


def _numbers(admin: AdminClient, topics: list[str], config: str, timeout_s: float) -> dict[str, int]:
    found: dict[str, int] = {}
    answers = admin.describe_configs([ConfigResource(ResourceType.TOPIC, n) for n in topics], request_timeout=timeout_s)
    for resource, future in answers.items():
        try:
            found[resource.name] = int(future.result()[config].value)
        except (KafkaException, KeyError, ValueError) as error:
            if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            log.warning("topic.limit_unknown", topic=resource.name, config=config, error=str(error))
    return found

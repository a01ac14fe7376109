"""How large a record each topic takes."""

from __future__ import annotations

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from headrace.runtime.settings import Settings

log = structlog.get_logger("headrace.runtime")


def max_message_bytes(admin: AdminClient, settings: Settings, pools: list[str]) -> dict[str, int]:
    """Return ``max.message.bytes`` by topic; topics whose configuration may not be read are left out."""
    names = [spec.name for spec in settings.topic_names.catalogue(pools)]
    found: dict[str, int] = {}
    answers = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=10)
    for resource, future in answers.items():
        try:
            found[resource.name] = int(future.result()["max.message.bytes"].value)
        except (KafkaException, KeyError, ValueError) as error:
            log.warning("topic.limit_unknown", topic=resource.name, error=str(error))
    return found

"""What a cluster says of itself and of our rights. What may not be read is left out of the answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from headrace.runtime.kafka import common_config
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable

ASK_S = 10.0
_API = re.compile(r"ApiKey \S+ \((\d+)\) Versions (\d+)\.\.(\d+)")
_CLOSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})


class _Lines(logging.Handler):
    """Keeps what a client logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def api_versions(settings: Settings) -> dict[int, tuple[int, int]]:
    """Return the versions of the protocol that the brokers speak, by API key; empty where that was not learned.

    Kafka tells nobody its release. librdkafka asks each broker for its API versions and only logs the answer.
    """
    kept = _Lines()
    logger = logging.Logger("headrace.kafka_facts")
    logger.addHandler(kept)
    # librdkafka's log level follows `debug`; the lines go to our logger alone.
    config = {**common_config(settings, "versions"), "log_level": 7, "debug": "feature", "logger": logger}
    client = AdminClient(config)
    try:
        client.list_topics("__consumer_offsets", timeout=ASK_S)
    except KafkaException as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error.args[0].str()}") from None
    client.poll(0.1)
    return parse_api_versions(kept.lines)


def parse_api_versions(lines: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Return lowest and highest version by API key; of several brokers, what all of them have."""
    found: dict[int, tuple[int, int]] = {}
    for line in lines:
        if match := _API.search(line):
            key, low, high = (int(group) for group in match.groups())
            known = found.get(key, (low, high))
            found[key] = (max(low, known[0]), min(high, known[1]))
    return found


def broker_configs(admin: AdminClient) -> dict[str, str]:
    """Return a broker's configuration, or nothing without the right to read it.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    try:
        broker = str(next(iter(admin.list_topics("__consumer_offsets", timeout=ASK_S).brokers)))
        answers = admin.describe_configs([ConfigResource(ResourceType.BROKER, broker)], request_timeout=ASK_S)
        return {name: entry.value for future in answers.values() for name, entry in future.result().items()}
    except KafkaException as error:
        if error.args[0].code() in _CLOSED:
            return {}
        raise DependencyUnavailable(f"brokers' settings cannot be read: {error.args[0].str()}") from None


def group_configs(admin: AdminClient, group: str) -> dict[str, str]:
    """Return the settings that a KIP-848 group has, or nothing where they may not be read or the brokers have none."""
    try:
        answers = admin.describe_configs([ConfigResource(ResourceType.GROUP, group)], request_timeout=ASK_S)
        return {name: entry.value for future in answers.values() for name, entry in future.result().items()}
    except KafkaException:
        return {}


def topic_rights(admin: AdminClient, topics: list[str]) -> dict[str, frozenset[str]]:
    """Return what we may do on each topic that exists: ``Read``, ``Write``, ``Describe``, ….

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    found: dict[str, frozenset[str]] = {}
    asked = admin.describe_topics(TopicCollection(topics), include_authorized_operations=True, request_timeout=ASK_S)
    for name, future in asked.items():
        try:
            operations = future.result().authorized_operations
        except KafkaException as error:
            code = error.args[0].code()
            if code in _CLOSED:
                found[name] = frozenset()
            elif code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise DependencyUnavailable(f"cannot look at topic {name}: {error.args[0].str()}") from None
            continue
        if operations is not None:
            found[name] = frozenset(operation.name.title().replace("_", "") for operation in operations)
    return found

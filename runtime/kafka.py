"""Kafka client configuration, written once. Every client of the project gets its options here."""

from __future__ import annotations

import os
import socket
import time
from operator import methodcaller
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.runtime.settings import Settings
from headrace.schemas.codec import UNREADABLE_HEADERS
from headrace.schemas.errors import DependencyUnavailable

ClientConfig = dict[str, Any]
ReadHeaders = tuple[tuple[str, bytes | None], ...]
"""Headers of a record that was read."""

MAX_POLL_INTERVAL_MS = 300_000
"""Polling is apart from work, so this only catches a poller that hangs."""


def common_config(settings: Settings, service: str) -> ClientConfig:
    """Return what every client shares: servers, credentials, name."""
    kafka = settings.kafka
    config: ClientConfig = {
        "bootstrap.servers": kafka.bootstrap_servers or "127.0.0.1:9092",
        "client.id": f"headrace-{service}-{socket.gethostname()}-{os.getpid()}",
        # Its own lines on stderr repeat every few milliseconds while a broker is away; errors come back through calls.
        "log_level": 0,
        # A leader change is noticed by the next request; waiting a second to ask again would be felt as a stall.
        "reconnect.backoff.max.ms": 1_000,
        **kafka.options,
    }
    if kafka.sasl_username is not None:
        config["sasl.username"] = kafka.sasl_username
    if kafka.sasl_password is not None:
        config["sasl.password"] = kafka.sasl_password.get_secret_value()
    return config


def producer_config(settings: Settings, service: str) -> ClientConfig:
    """Return the options of an idempotent producer whose partitioner agrees with Java's clients."""
    return {
        **common_config(settings, service),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
    }


def transactional_config(settings: Settings, transactional_id: str) -> ClientConfig:
    """Return the options of the orchestrator's producer (kafka-mechanics A2, A5)."""
    timeout = settings.orchestrator.transaction_timeout_ms
    return {
        **producer_config(settings, "orchestrator"),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": timeout,
        "message.timeout.ms": timeout,
        "socket.timeout.ms": timeout,
        # Every transaction ends with a flush: waiting for more records would only add latency.
        "linger.ms": 0,
        "retry.backoff.ms": 10,
        "queue.buffering.max.messages": 1_000_000,
    }


def group_config(settings: Settings, service: str, group: str, *, instance: str | None, assignor: str) -> ClientConfig:
    """Return the options of a group consumer; offsets are stored and committed by us alone.

    Args:
        service: for ``client.id``.
        group: the consumer group.
        instance: ``group.instance.id`` of a classic static member, or None for a dynamic one. Under KIP-848 all are
            dynamic: a static member that was killed could not come back before its session ended (the broker's
            UNRELEASED_INSTANCE_ID), and one that leaves would keep its partitions as long (ADR 17).
        assignor: ``range`` or ``cooperative-sticky``; under KIP-848 the broker's ``range`` or ``uniform``.
    """
    kafka = settings.kafka
    config: ClientConfig = {
        **common_config(settings, service),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "max.poll.interval.ms": kafka.options.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS),
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 5,
        "allow.auto.create.topics": False,
    }
    if kafka.group_protocol == "consumer":
        config["group.protocol"] = "consumer"
        config["group.remote.assignor"] = "range" if assignor == "range" else "uniform"
    else:
        if instance is not None:
            config["group.instance.id"] = instance
        config["partition.assignment.strategy"] = assignor
        config["session.timeout.ms"] = kafka.session_timeout_ms
        config["heartbeat.interval.ms"] = kafka.heartbeat_interval_ms
    return config


def reader_config(settings: Settings, service: str, *, committed: bool = True) -> ClientConfig:
    """Return the options of a consumer without a group, which is assigned partitions by hand and commits nothing."""
    return {
        **common_config(settings, service),
        # librdkafka wants a name; nothing is ever committed under it.
        "group.id": f"{settings.topics.prefix}.reader",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed" if committed else "read_uncommitted",
        # Of no meaning without a group, but librdkafka wants it above its default session timeout.
        "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 100,
        "allow.auto.create.topics": False,
    }


_headers = methodcaller("headers")


def headers_of(message: Any) -> ReadHeaders:
    """Return a message's headers; in place of headers that the client cannot read, one that says so.

    confluent-kafka sets an exception where a header's name is not UTF-8, and returns a list with a null pointer in it
    all the same (2.16.1). Python makes a SystemError of that, but not where a line that calls a method has been run
    often enough to be specialised (3.11 and later): there the process ends by a segmentation fault as soon as the list
    is looked at. A call through C is always checked, so it is made through `methodcaller`. Asked again, the client
    returns the list without an exception. So nobody else may call ``Message.headers``, and nobody this one twice.
    """
    try:
        return tuple(_headers(message) or ())
    except SystemError:
        return ((UNREADABLE_HEADERS, b"true"),)


def metadata_of(committed: TopicPartition) -> str:
    """Return what a commit says beside its offset; nothing where that is not UTF-8, which only a forger writes."""
    try:
        return committed.metadata or ""
    except UnicodeDecodeError:
        return ""


def admin_client(settings: Settings, service: str = "admin") -> AdminClient:
    """Return an admin client."""
    return AdminClient(common_config(settings, service))


def wait_for_broker(settings: Settings, timeout_s: float | None = None) -> AdminClient:
    """Return an admin client once the broker answers.

    Raises:
        DependencyUnavailable: no answer in time, or the credentials are wrong; the message says which.
    """
    errors: list[str] = []
    config = common_config(settings, "admin")
    config["error_cb"] = lambda error: errors.append(str(error.str()))
    client = AdminClient(config)
    deadline = time.monotonic() + (timeout_s or settings.kafka.connect_timeout_s)
    servers = config["bootstrap.servers"]
    while True:
        try:
            client.list_topics(timeout=min(2.0, max(0.1, deadline - time.monotonic())))
        except KafkaException as error:
            client.poll(0)
            refused = next((text for text in errors if "uthentication" in text), None)
            if refused:
                raise DependencyUnavailable(
                    f"Kafka at {servers} refused the credentials: {refused}",
                    "check kafka.sasl_username, HEADRACE_KAFKA__SASL_PASSWORD and kafka.options",
                ) from None
            if time.monotonic() >= deadline:
                last = errors[-1] if errors else error.args[0].str()
                raise DependencyUnavailable(
                    f"Kafka at {servers} does not answer: {last}",
                    "start it (headrace kafka start), or set HEADRACE_KAFKA__BOOTSTRAP_SERVERS; see headrace doctor",
                ) from None
        else:
            return client

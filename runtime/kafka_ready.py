"""Asks a broker whether it is there: the ready check of local brokers, and the probe of `headrace doctor`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.schemas.errors import DependencyUnavailable

Options = Mapping[str, str | int | float | bool]


def probe(bootstrap_servers: str, *, options: Options | None = None) -> AdminClient:
    """Return an admin client that is silent about refused connections and tries again every 50 ms."""
    return AdminClient(
        {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 100,
            **(options or {}),
        }
    )


def brokers_seen(client: AdminClient, *, timeout_s: float) -> int:
    """Return how many brokers the cluster's metadata lists; 0 when nobody answers in time."""
    try:
        return len(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return 0


def wait_until_ready(
    bootstrap_servers: str,
    *,
    nodes: int = 1,
    timeout_s: float,
    check: Callable[[], None] = lambda: None,
    options: Options | None = None,
) -> None:
    """Return once that many brokers serve clients.

    Args:
        bootstrap_servers: of the cluster.
        nodes: how many brokers must be listed.
        timeout_s: how long to wait.
        check: called between tries; raises when waiting has become pointless.
        options: further librdkafka options, such as credentials.

    Raises:
        DependencyUnavailable: not in time.
    """
    client = probe(bootstrap_servers, options=options)
    deadline = time.monotonic() + timeout_s
    while brokers_seen(client, timeout_s=0.5) < nodes:
        check()
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"Kafka at {bootstrap_servers} was not ready within {timeout_s:g} s", "See its log file."
            )
        time.sleep(0.05)

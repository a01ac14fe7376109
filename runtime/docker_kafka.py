"""Apache Kafka in a container: is there a Docker engine, and a broker on it through testcontainers.

Nothing here is run where no engine answers. A docker client without an engine proves nothing, so the engine itself is
asked, in its own protocol and without its library: one HTTP request, two seconds at most.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.runtime.kafka_jars import kafka_version
from headrace.runtime.kafka_ready import wait_until_ready
from headrace.runtime.local_kafka import choose_ports
from headrace.runtime.local_kafka_config import COMMON
from headrace.schemas.errors import DependencyUnavailable

PING_TIMEOUT_S = 2.0
DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_READY_TIMEOUT_S = 120.0
"""An image may have to be pulled before; this counts from the container's start."""


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """What asking for a Docker engine gave."""

    endpoint: str
    answers: bool
    detail: str
    """The engine's version, or why it cannot be used."""


def ping_engine(environ: Mapping[str, str] = os.environ, *, timeout_s: float = PING_TIMEOUT_S) -> DockerEngine:
    """Ask the engine of DOCKER_HOST, or of the default socket, whether it answers."""
    endpoint = environ.get("DOCKER_HOST") or DEFAULT_ENGINE
    try:
        answer = _ask(endpoint, timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return DockerEngine(endpoint, False, f"does not answer: {error}")
    if answer.status != 200:
        return DockerEngine(endpoint, False, f"answers /_ping with HTTP {answer.status}")
    return DockerEngine(endpoint, True, f"API {answer.getheader('Api-Version', 'of unknown version')}")


def _ask(endpoint: str, timeout_s: float) -> http.client.HTTPResponse:
    address = urlsplit(endpoint)
    if address.scheme == "unix":
        connection: http.client.HTTPConnection = _UnixConnection(address.path, timeout_s)
    elif address.scheme in ("tcp", "http") and address.hostname:
        connection = http.client.HTTPConnection(address.hostname, address.port or 2375, timeout=timeout_s)
    else:
        raise ValueError(f"the scheme {address.scheme or '(none)'} is not asked here")
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse()
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(Path(self._path)))


def testcontainers_installed() -> bool:
    """Tell whether the extra `docker` is installed."""
    return importlib.util.find_spec("testcontainers") is not None


def container_environment(port: int) -> dict[str, str]:
    """Return the container's settings: those of the local broker, and listeners for a client on this host.

    Any KAFKA_ variable makes the image drop its own defaults, so all are given. Names: ``.`` becomes ``_``.
    """
    chosen = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        **{key: value for key, value, _ in COMMON},
    }
    return {f"KAFKA_{key.replace('.', '_').upper()}": value for key, value in chosen.items()}


@contextmanager
def docker_kafka() -> Iterator[str]:
    """Run the pinned Kafka in a container, reachable on 127.0.0.1 only; yields its bootstrap servers.

    Raises:
        DependencyUnavailable: the image cannot be pulled or the broker does not come up.
    """
    from testcontainers.core.container import DockerContainer

    port = choose_ports(1)[0].broker
    container: Any = DockerContainer(f"apache/kafka:{kafka_version()}")
    container.with_bind_ports(9092, ("127.0.0.1", port))
    for name, value in container_environment(port).items():
        container.with_env(name, value)
    try:
        container.start()
    except Exception as error:  # The docker library's own tree; it stops at this seam.
        raise DependencyUnavailable(
            f"Docker could not start Kafka: {error}", "set DOCKER_HOST=none to use the local broker instead"
        ) from error
    try:
        wait_until_ready(f"127.0.0.1:{port}", timeout_s=_READY_TIMEOUT_S)
        yield f"127.0.0.1:{port}"
    finally:
        container.stop()

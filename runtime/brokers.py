"""Which Kafka to use: what there is, the choice between it, and the chosen one started.

The order (architecture.md, 7): the given one; one that `headrace kafka start` already runs here; a Docker engine that
answers; the local broker on Java. `survey` looks, `choose` decides and is pure, `broker_for` acts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.runtime.docker_kafka import DockerEngine, docker_kafka, ping_engine, testcontainers_installed
from headrace.runtime.java import MINIMUM_JAVA, JavaSearch, find_java, find_maven
from headrace.runtime.kafka_jars import cached_jars, fetch_jars, kafka_version
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime
from headrace.runtime.local_kafka_state import status
from headrace.schemas.errors import DependencyUnavailable

GIVEN_VARIABLE = "HEADRACE_KAFKA__BOOTSTRAP_SERVERS"

Kind = Literal["given", "running", "docker", "local", "none"]


class LocalKafkaUnavailable(DependencyUnavailable):
    """No Kafka is given and none can be started here; the hint has the three ways out."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is on this machine to get a Kafka from. Looking starts nothing."""

    given: str | None
    """Bootstrap servers from the settings or the environment."""
    running: str | None
    """Bootstrap servers of a local broker that somebody started and that still runs."""
    docker: DockerEngine
    testcontainers: bool
    """Whether the library that starts the container is installed."""
    java: JavaSearch
    maven: Path | None
    jars: Path | None
    """The folder with Kafka's jars, or None as long as they are not fetched."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which Kafka is used, and why."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Broker:
    """A Kafka that serves clients."""

    bootstrap_servers: str
    choice: Choice
    data: Path | None
    """The data folder, where it is a local broker."""


def survey(
    environ: Mapping[str, str] = os.environ,
    *,
    given: str | None = None,
    data: Path | None = None,
    look_all: bool = False,
) -> Survey:
    """Look at what there is.

    Args:
        environ: the environment.
        given: bootstrap servers from other settings; the environment's otherwise.
        data: the data folder in which a broker may run already; None looks in none.
        look_all: also look at what comes after the first find, as `headrace doctor` shows it. Otherwise the engine is
            not asked, nor Java run, where something better is known.
    """
    found = given or environ.get(GIVEN_VARIABLE) or None
    running = status(data).bootstrap_servers if data else None
    enough = not look_all and (found is not None or running is not None)
    engine = DockerEngine("", False, "not asked") if enough else ping_engine(environ)
    return Survey(
        given=found,
        running=running,
        docker=engine,
        testcontainers=testcontainers_installed(),
        java=JavaSearch(None, ()) if enough else find_java(environ),
        maven=find_maven(environ),
        jars=cached_jars(),
    )


def choose(found: Survey) -> Choice:
    """Decide between what was found. Pure."""
    if found.given:
        return Choice("given", f"{GIVEN_VARIABLE} or kafka.bootstrap_servers is set")
    if found.running:
        return Choice("running", "a local Kafka runs already")
    if found.docker.answers and found.testcontainers:
        return Choice("docker", f"the Docker engine at {found.docker.endpoint} answers")
    java = found.java.java
    if java and found.jars:
        return Choice("local", f"Java {java.major} ({java.source}) and the jars in {found.jars}")
    if java and found.maven:
        return Choice("local", f"Java {java.major} ({java.source}); {found.maven} fetches the jars once")
    return Choice("none", "; ".join(_missing(found)))


def _missing(found: Survey) -> list[str]:
    """Return one part of a sentence for each way that is closed."""
    parts = [f"{GIVEN_VARIABLE} is not set"]
    if found.docker.answers:
        parts.append(f"Docker at {found.docker.endpoint} answers but the extra 'docker' is not installed")
    else:
        parts.append(f"no Docker engine answers at {found.docker.endpoint}")
    if found.java.java is None:
        parts += [f"there is no Java {MINIMUM_JAVA} or newer", *found.java.rejected]
    if found.jars is None and found.maven is None:
        parts.append(f"Kafka {kafka_version()} is not in the cache and there is no Maven to fetch it")
    return parts


def three_ways_out(found: Survey) -> str:
    """Return what to do when there is no Kafka, with the command that this machine lacks."""
    java = "" if found.java.java else f"Java {MINIMUM_JAVA}+ (or: pip install 'headrace[local-kafka]')"
    maven = "" if found.maven or found.jars else "Maven (mvn)"
    wanted = " and ".join(part for part in (java, maven) if part) or f"Java {MINIMUM_JAVA}+ and Maven"
    docker = " and pip install 'headrace[docker]'" if not found.testcontainers else ""
    return (
        f"One of three: set {GIVEN_VARIABLE} to a Kafka that runs, for example 127.0.0.1:9092; "
        f"start Docker{docker}; or install {wanted}."
    )


def local_runtime(found: Survey) -> Runtime:
    """Return Java and the jars, fetched now if this user does not have them.

    Raises:
        LocalKafkaUnavailable: Java or Maven is missing.
    """
    java = found.java.java
    if java is None or (found.jars is None and found.maven is None):
        raise LocalKafkaUnavailable(f"no local Kafka: {'; '.join(_missing(found))}", three_ways_out(found))
    if found.jars is not None:
        return Runtime(java, found.jars)
    assert found.maven is not None, "checked above"
    return Runtime(java, fetch_jars(java, found.maven))


@contextmanager
def broker_for(
    data: Path, *, given: str | None = None, reuse: bool = True, environ: Mapping[str, str] = os.environ
) -> Iterator[Broker]:
    """Provide a Kafka for the time of a ``with`` block; what was started for it ends with it, also by ``kill -9``.

    Args:
        data: data folder for a local broker.
        given: bootstrap servers from other settings than the environment.
        reuse: take a local broker that already runs in that folder. It is left running.
        environ: the environment.

    Raises:
        LocalKafkaUnavailable: there is none and none can be started.
        DependencyUnavailable: the chosen one did not come up.
    """
    found = survey(environ, given=given, data=data if reuse else None)
    choice = choose(found)
    match choice.kind:
        case "given":
            yield Broker(str(found.given), choice, None)
        case "running":
            yield Broker(str(found.running), choice, data)
        case "docker":
            with docker_kafka() as servers:
                yield Broker(servers, choice, None)
        case "local":
            with LocalKafka(LocalKafkaOptions(data), local_runtime(found)) as kafka:
                yield Broker(kafka.bootstrap_servers, choice, data)
        case "none":
            raise LocalKafkaUnavailable(f"no Kafka: {choice.reason}", three_ways_out(found))

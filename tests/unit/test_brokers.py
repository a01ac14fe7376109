from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.runtime import brokers
from headrace.runtime.brokers import LocalKafkaUnavailable, Survey, broker_for, choose, three_ways_out
from headrace.runtime.docker_kafka import DockerEngine, container_environment, ping_engine
from headrace.runtime.java import Java, JavaSearch

JAVA = JavaSearch(Java(Path("/j/bin/java"), 21, "PATH"), ())
NO_JAVA = JavaSearch(None, ("/usr/bin/java (PATH) is Java 11, Kafka needs 17",))
NOTHING = Survey(
    given=None,
    running=None,
    docker=DockerEngine("unix:///d.sock", False, "does not answer"),
    testcontainers=True,
    java=NO_JAVA,
    maven=None,
    jars=None,
)
ALL = Survey(
    given="kafka:9092",
    running="127.0.0.1:9092",
    docker=DockerEngine("unix:///d.sock", True, "API 1.51"),
    testcontainers=True,
    java=JAVA,
    maven=Path("/m/mvn"),
    jars=Path("/jars"),
)


def test_the_order_is_given_running_docker_local_none() -> None:
    found, seen = ALL, []
    dead = DockerEngine("unix:///d.sock", False, "does not answer")
    for lost in ({}, {"given": None}, {"running": None}, {"docker": dead}, {"java": NO_JAVA}):
        found = replace(found, **lost)
        seen.append(choose(found).kind)
    assert seen == ["given", "running", "docker", "local", "none"]


def test_docker_without_the_library_that_starts_containers_is_not_chosen() -> None:
    found = replace(ALL, given=None, running=None, testcontainers=False)
    assert choose(found).kind == "local"
    assert "pip install 'headrace[docker]'" in three_ways_out(replace(NOTHING, testcontainers=False))


def test_jars_in_the_cache_make_maven_needless_and_maven_makes_the_cache_needless() -> None:
    assert choose(replace(NOTHING, java=JAVA, jars=Path("/jars"))).kind == "local"
    assert choose(replace(NOTHING, java=JAVA, maven=Path("/m/mvn"))).kind == "local"
    assert choose(replace(NOTHING, java=JAVA)).kind == "none"


def test_the_reason_for_none_names_every_closed_way() -> None:
    reason = choose(NOTHING).reason
    for part in ("HEADRACE_KAFKA__BOOTSTRAP_SERVERS is not set", "unix:///d.sock", "no Java 17", "is Java 11", "Maven"):
        assert part in reason


@pytest.mark.parametrize(
    ("found", "wanted", "unwanted"),
    [
        (NOTHING, ("Java 17+", "headrace[local-kafka]", "Maven (mvn)"), ()),
        (replace(NOTHING, java=JAVA), ("Maven (mvn)",), ("Java 17+",)),
        (replace(NOTHING, jars=Path("/jars")), ("Java 17+",), ("Maven (mvn)",)),
    ],
)
def test_the_three_ways_out_name_only_what_this_machine_lacks(
    found: Survey, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    text = three_ways_out(found)
    assert "HEADRACE_KAFKA__BOOTSTRAP_SERVERS" in text
    assert "start Docker" in text
    assert all(part in text for part in wanted)
    assert not any(part in text for part in unwanted)


def test_a_given_broker_is_used_without_asking_docker_or_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(brokers, "ping_engine", lambda environ: pytest.fail("asked Docker"))
    monkeypatch.setattr(brokers, "find_java", lambda environ: pytest.fail("ran Java"))
    environ = {"HEADRACE_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"}
    with broker_for(tmp_path, environ=environ) as broker:
        assert (broker.bootstrap_servers, broker.choice.kind) == ("kafka:9092", "given")


def test_without_anything_the_error_has_exit_code_3_and_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(brokers, "survey", lambda *args, **more: NOTHING)
    with pytest.raises(LocalKafkaUnavailable) as raised, broker_for(tmp_path):
        pass
    assert raised.value.exit_code == 3
    assert "One of three" in raised.value.hint


@contextmanager
def _engine(path: Path, answer: bytes | None) -> Iterator[str]:
    """An engine on a Unix socket that gives one answer, or accepts and says nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                if answer is None:
                    client.recv(4096)
                else:
                    client.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield f"unix://{path}"
        serving.join(5)


@pytest.mark.parametrize(
    ("answer", "answers", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 2\r\n\r\nOK", True, "API 1.51"),
        (b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", False, "HTTP 503"),
        (b"SSH-2.0-OpenSSH\r\n", False, "does not answer"),
        (None, False, "timed out"),
    ],
)
def test_an_engine_counts_only_when_it_answers_a_ping(
    tmp_path: Path, answer: bytes | None, answers: bool, detail: str
) -> None:
    with _engine(tmp_path / "d.sock", answer) as endpoint:
        found = ping_engine({"DOCKER_HOST": endpoint}, timeout_s=0.3)
    assert found.answers is answers
    assert detail in found.detail


@pytest.mark.parametrize("endpoint", ["unix:///nowhere/d.sock", "none", "ssh://host", "tcp://127.0.0.1:1"])
def test_an_engine_that_cannot_be_reached_is_a_finding_not_an_error(endpoint: str) -> None:
    assert not ping_engine({"DOCKER_HOST": endpoint}).answers


def test_the_container_advertises_the_port_on_this_host_and_shares_the_broker_settings() -> None:
    environ = container_environment(40001)
    assert environ["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:40001"
    assert environ["KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS"] == "6000"
    assert environ["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"

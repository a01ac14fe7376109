"""The local broker with a real JVM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from pydantic import SecretStr
from typer.testing import CliRunner

from headrace.console.commands import doctor as doctor_module
from headrace.console.commands.kafka import app
from headrace.runtime.kafka_ready import brokers_seen, probe
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions, Runtime
from headrace.runtime.local_kafka_scram import ScramUser, client_options
from headrace.runtime.local_kafka_state import read_state, status, stop
from headrace.runtime.processes import ProcessRef

pytestmark = pytest.mark.broker


def _create(servers: str, topic: str, *, copies: int = -1) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    admin.create_topics([NewTopic(topic, 3, copies)])[topic].result(timeout=10)


def _send(servers: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 0, "enable.idempotence": True})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(10) == 0


def _read(servers: str, topic: str, count: int, **options: object) -> list[bytes]:
    settings = {"bootstrap.servers": servers, "log_level": 0, "group.id": f"{topic}.readers", **options}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[Message] = []
    deadline = time.monotonic() + 15
    while len(found) < count and time.monotonic() < deadline:
        found += consumer.consume(count, 0.2)
    consumer.close()
    return [bytes(message.value() or b"") for message in found if message.error() is None]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_what_is_written_is_read_under_both_group_protocols(
    bootstrap_servers: str, topic_prefix: str, protocol: str
) -> None:
    topic = f"{topic_prefix}.round-trip"
    _create(bootstrap_servers, topic)
    _send(bootstrap_servers, topic, 50)
    read = _read(bootstrap_servers, topic, 50, **{"group.protocol": protocol})
    assert sorted(read, key=int) == [str(number).encode() for number in range(50)]


def test_a_committed_transaction_is_seen_and_an_aborted_one_is_not(bootstrap_servers: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}.transactions"
    _create(bootstrap_servers, topic)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0, "transactional.id": topic})
    producer.init_transactions(20)
    for value, keep in ((b"aborted", False), (b"committed", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(10)
        if keep:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    assert _read(bootstrap_servers, topic, 2 - 1, **{"isolation.level": "read_committed"}) == [b"committed"]


def test_a_topic_that_nobody_created_does_not_appear(bootstrap_servers: str, topic_prefix: str) -> None:
    settings = {"bootstrap.servers": bootstrap_servers, "log_level": 0, "topic.metadata.propagation.max.ms": 200}
    producer = Producer(settings)
    errors: list[KafkaError | None] = []
    producer.produce(f"{topic_prefix}.typo", b"x", on_delivery=lambda error, _: errors.append(error))
    producer.flush(5)
    assert errors[0] is not None
    assert errors[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_the_broker_runs_with_the_timeouts_of_the_design(bootstrap_servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    node = next(iter(admin.list_topics(timeout=5).brokers))
    (described,) = admin.describe_configs([ConfigResource(ResourceType.BROKER, str(node))]).values()
    found = {name: entry.value for name, entry in described.result(timeout=5).items()}
    assert found["group.consumer.session.timeout.ms"] == "6000"
    assert found["group.consumer.heartbeat.interval.ms"] == "1000"
    assert found["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "1000"
    assert found["group.initial.rebalance.delay.ms"] == "50"


@pytest.mark.slow
def test_topics_survive_a_stop_and_a_kill_and_nothing_is_left_running(
    local_kafka_runtime: Runtime, tmp_path: Path
) -> None:
    options = LocalKafkaOptions(tmp_path / "k")
    with LocalKafka(options, local_kafka_runtime) as kafka:
        first = ProcessRef.of(kafka.pids[0])
        assert first is not None
        assert status(options.data).state == "running"
        assert status(options.data).rss_bytes < 700e6
        _create(kafka.bootstrap_servers, "kept")
        _send(kafka.bootstrap_servers, "kept", 10)
        os.kill(kafka.pids[0], signal.SIGKILL)
        kafka.wait()
        assert status(options.data).state == "stale"
    assert not first.alive()
    with LocalKafka(options, local_kafka_runtime) as kafka:
        assert len(_read(kafka.bootstrap_servers, "kept", 10)) == 10
    assert status(options.data).state == "stopped"


def test_a_scram_user_gets_in_with_the_password_only(
    scram_broker: Callable[[ScramUser], LocalKafka], tmp_path: Path
) -> None:
    user = ScramUser("orders", SecretStr("correct horse"))
    kafka = scram_broker(user)
    assert kafka.sasl_bootstrap_servers is not None
    assert brokers_seen(probe(kafka.sasl_bootstrap_servers, options=client_options(user)), timeout_s=5) == 1
    wrong = ScramUser("orders", SecretStr("wrong"))
    with pytest.raises(KafkaException):
        probe(kafka.sasl_bootstrap_servers, options=client_options(wrong)).list_topics(timeout=1)
    texts = [path.read_bytes() for path in kafka.data.rglob("*") if path.is_file()]
    assert not any(b"correct horse" in text for text in texts)


OWNER = """
import sys, time
from pathlib import Path
from headrace.runtime.brokers import broker_for
with broker_for(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_an_attached_broker_dies_with_an_owner_that_is_killed(local_kafka_runtime: Runtime, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "HEADRACE_KAFKA__BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-c", OWNER, str(tmp_path / "k")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**environ, "DOCKER_HOST": "none"}) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        known = read_state(tmp_path / "k")
        assert known is not None
        assert known.attached
        owner.kill()
    deadline = time.monotonic() + 5
    while known.alive:
        assert time.monotonic() < deadline, "the JVM outlived its owner"
        time.sleep(0.02)
    assert status(tmp_path / "k").state == "stale"


@pytest.mark.slow
def test_three_nodes_go_on_without_one(local_kafka_runtime: Runtime, tmp_path: Path) -> None:
    with LocalKafka(LocalKafkaOptions(tmp_path / "k", nodes=3), local_kafka_runtime) as kafka:
        _create(kafka.bootstrap_servers, "copied")
        os.kill(kafka.pids[0], signal.SIGKILL)
        _send(kafka.bootstrap_servers, "copied", 30)
        assert status(kafka.data).state == "degraded"


@pytest.mark.slow
def test_the_commands_start_detached_show_and_stop(local_kafka_runtime: Runtime, tmp_path: Path) -> None:
    run, data = CliRunner().invoke, ["--data", str(tmp_path / "k")]
    try:
        assert run(app, ["status", *data]).exit_code == 3
        started = run(app, ["start", *data, "--json"])
        assert started.exit_code == 0, started.output
        shown = json.loads(started.stdout)
        assert (shown["state"], shown["attached"]) == ("running", False)
        again = json.loads(run(app, ["start", *data, "--json"]).stdout)
        assert again["pids"] == shown["pids"]
        assert run(app, ["status", *data]).exit_code == 0
        assert run(app, ["stop", *data]).stdout == "stopped\n"
        assert run(app, ["stop", *data]).stdout == "was not running\n"
        assert run(app, ["status", *data]).exit_code == 3
    finally:
        stop(tmp_path / "k")


def test_the_doctor_names_the_given_broker_as_reachable(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP_SERVERS", bootstrap_servers)
    doctor_module.doctor(as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["given_broker"] == {
        "bootstrap_servers": bootstrap_servers,
        "reachable": True,
        "detail": "answers",
        "problems": [],
    }
    assert report["choice"]["kind"] == "given"

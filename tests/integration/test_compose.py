"""docker-compose.yml without Docker: its services as local processes against the run's Kafka.

The containers themselves (image, network, volumes) are proved by .github/workflows/compose.yml.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from headrace.runtime.kafka_jars import kafka_version
from headrace.schemas.topics import Topics
from tests.integration.compose import ROOT, ComposeRun, Replica, dockerfile, load_compose, seconds

SERVICES = load_compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "kafka"}
STAYING = {
    name: service for name, service in OURS.items() if name != "topics" and "tools" not in service.get("profiles", [])
}


def test_the_broker_is_the_version_that_the_local_broker_has() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_version()}"


def test_the_broker_has_everything_that_the_image_drops_when_one_variable_is_set() -> None:
    needed = ("NODE_ID", "PROCESS_ROLES", "LISTENERS", "ADVERTISED_LISTENERS", "LISTENER_SECURITY_PROTOCOL_MAP")
    needed += ("CONTROLLER_LISTENER_NAMES", "CONTROLLER_QUORUM_VOTERS", "INTER_BROKER_LISTENER_NAME")
    needed += ("OFFSETS_TOPIC_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_REPLICATION_FACTOR")
    needed += ("TRANSACTION_STATE_LOG_MIN_ISR", "AUTO_CREATE_TOPICS_ENABLE")
    environment = SERVICES["kafka"]["environment"]
    assert [name for name in needed if f"KAFKA_{name}" not in environment] == []
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_every_service_waits_for_the_broker_and_the_topics() -> None:
    for name, service in STAYING.items():
        if name != "provider":
            assert service["depends_on"]["kafka"]["condition"] == "service_healthy"
            assert service["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_workers_have_time_to_drain() -> None:
    workers = {name: service for name, service in OURS.items() if name.startswith("worker-")}
    assert {name: service["deploy"]["replicas"] for name, service in workers.items() if "deploy" in service} == {
        "worker-small": 2
    }
    for service in workers.values():
        drain = float(service["environment"]["HEADRACE_WORKER__DRAIN_TIMEOUT_S"])
        assert seconds(service["stop_grace_period"]) > drain + 20


def test_the_image_is_not_root_and_its_data_folder_is_the_one_that_is_shared() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in text
    entry, environment = dockerfile()
    assert entry == ["headrace"]
    shared = f"objects:{environment['HEADRACE_DATA_DIR']}/objects"
    assert all(shared in service["volumes"] for name, service in STAYING.items() if name != "provider")


def test_a_process_of_the_image_compiles_no_module_at_its_start() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "UV_COMPILE_BYTECODE=1" in text
    before, _, _ = text.partition("\nUSER ")
    line = re.search(r'RUN env -u PYTHONDONTWRITEBYTECODE python -c \\\n +"(import .*)"', before)
    assert line, "the standard library's modules are compiled while we may write"
    subprocess.run([sys.executable, "-c", line[1]], check=True)


@pytest.fixture
def compose(tmp_path: Path, bootstrap_servers: str, topic_prefix: str) -> Iterator[ComposeRun]:
    run = ComposeRun(tmp_path, bootstrap_servers, topic_prefix)
    yield run
    run.kill_all()


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_goes_in_its_outcome_comes_out_and_sigterm_ends_every_service_with_0(compose: ComposeRun) -> None:
    applied = compose.run("topics")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    for name in STAYING:
        compose.start(name)
    for replica in compose.replicas:
        replica.wait_healthy(90.0)

    outcome = _job_to_outcome(compose)

    assert outcome["status"] == "succeeded", outcome
    assert len(outcome["output"]["notes"]) == 6
    assert outcome["receipt"]["steps"]["echoes"]["tasks"] == 6
    assert set(outcome["receipt"]["pools"]) == {"small", "large", "noop"}
    shown = compose.run("cli")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert {replica.name: code for replica, code in _stopped(compose).items() if code != 0} == {}


def _job_to_outcome(compose: ComposeRun) -> dict[str, Any]:
    """Submit as any client does: plain JSON, no header, a partitioner that is not ours."""
    topics = Topics(compose.prefix)
    job = json.loads((ROOT / "tests" / "integration" / "compose_job.json").read_text(encoding="utf-8"))
    producer = Producer({"bootstrap.servers": compose.bootstrap_servers})
    producer.produce(topics.jobs, key=job["job_id"], value=json.dumps(job))
    assert producer.flush(30) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": compose.bootstrap_servers,
            "group.id": f"{compose.prefix}.test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topics.outcomes])
    end = time.monotonic() + 90
    try:
        while time.monotonic() < end:
            record = consumer.poll(1.0)
            if record is not None and record.error() is None:
                assert (record.key() or b"").decode() == job["job_id"]
                found: dict[str, Any] = json.loads(record.value() or b"")
                return found
    finally:
        consumer.close()
    tails = "\n".join(f"== {replica.name}\n{replica.tail()}" for replica in compose.replicas)
    pytest.fail(f"no outcome in 90 s\n{tails}")


def _stopped(compose: ComposeRun) -> dict[Replica, int]:
    """Stop everything as `docker compose stop` does: SIGTERM, then the grace period."""
    for replica in compose.replicas:
        replica.process.send_signal(signal.SIGTERM)
    codes = {}
    for replica in compose.replicas:
        grace = seconds(STAYING[replica.name.rpartition("-")[0]].get("stop_grace_period", "10s"))
        codes[replica] = replica.process.wait(grace)
    return codes

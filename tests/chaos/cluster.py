"""Everything that runs: brokers, topics, the scripted provider, orchestrators and workers, each with its files."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from benchmarks.clusters import Cluster as Brokers
from benchmarks.deployment import free_port

from headrace.runtime.brokers import local_runtime, survey
from headrace.runtime.kafka import admin_client
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions
from headrace.runtime.processes import spawn_attached
from headrace.runtime.settings import Settings
from headrace.runtime.topic_plan import ensure_topics
from tests.chaos import workflows
from tests.chaos.plan import Role, member
from tests.chaos.processes import Fleet

READY_S = 60.0
PARTITIONS = 4
DRAIN_S = 20.0
"""Longer than any call of the script, so a rolling restart has no excuse."""


@dataclass(slots=True)
class Cluster:
    """What the harness acts on."""

    brokers: Brokers
    fleet: Fleet
    settings: Settings
    folder: Path
    provider_port: int
    protocol: str
    ports: dict[str, int] = field(default_factory=dict)
    """Admin ports by member."""

    def start(self, role: Role, number: int) -> str:
        """Start an orchestrator or a worker; return its name."""
        name = member(role, number)
        port = self.ports.setdefault(name, free_port())
        pools = self.folder / f"pools-{name}.yaml"
        pools.write_text(yaml.safe_dump(workflows.pools(self.provider_port, name)))
        command = [sys.executable, "-m"]
        if role == "orchestrator":
            command += ["headrace.orchestrator", "--slot", name, "--workflows", str(self.folder / "workflows")]
        else:
            command += ["headrace.workers", role]
        environment = {**self.environment, "HEADRACE_POOLS_FILE": str(pools), "HEADRACE_ADMIN__PORT": str(port)}
        self.fleet.start(name, command, environment, ready_url=f"http://127.0.0.1:{port}/readyz")
        return name

    @property
    def environment(self) -> dict[str, str]:
        """What every process is told."""
        settings = self.settings
        return {
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "HEADRACE_KAFKA__GROUP_PROTOCOL": self.protocol,
            "HEADRACE_TOPICS__PREFIX": settings.topics.prefix,
            "HEADRACE_TOPICS__PARTITIONS": str(settings.topics.partitions),
            "HEADRACE_TOPICS__TASK_PARTITIONS": str(settings.topics.task_partitions),
            "HEADRACE_DATA_DIR": str(self.folder / "data"),
            "HEADRACE_WORKER__DRAIN_TIMEOUT_S": str(DRAIN_S),
            "PYTHONUNBUFFERED": "1",
        }

    # ── Brokers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_in_sync(self, timeout_s: float) -> bool:
        """Wait until every partition has all its copies in sync; return whether that came in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.brokers.in_sync():
                return True
            time.sleep(0.2)
        return False

    def restart_broker(self, node: int) -> None:
        """Start a killed one again; returns when it answers."""
        self.brokers.kafka.wait(node)
        self.brokers.kafka.restart(node)

    # ── The provider ─────────────────────────────────────────────────────────────────────────────────────────────

    def ask_provider(self, path: str) -> Any:
        """Return what the provider's own pages say."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.provider_port}{path}", timeout=30) as page:
            return json.load(page)


@contextmanager
def cluster(folder: Path, *, brokers: int, protocol: str, now_s: Callable[[], float]) -> Iterator[Cluster]:
    """Start Kafka, topics and the provider; stop everything after.

    Args:
        brokers: 1 or 3.
        protocol: ``classic`` or ``consumer``.
    """
    # Three JVMs that compile their code as well as they can take the first minutes of two cores for themselves: a
    # transaction took 1.4 s, against 0.05 s with the quick compiler alone.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    (folder / "workflows").mkdir(parents=True)
    (folder / "logs").mkdir()
    for name, document in workflows.WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(yaml.safe_dump(document))
    with ExitStack() as held:
        options = LocalKafkaOptions(folder / "kafka", nodes=brokers)
        kafka = held.enter_context(LocalKafka(options, local_runtime(survey(look_all=True))))
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "group_protocol": protocol},
                "topics": {"prefix": "chaos", "partitions": PARTITIONS, "task_partitions": PARTITIONS},
                "data_dir": folder / "data",
            }
        )
        ensure_topics(admin_client(settings), settings, ["noop", "http"])
        port = held.enter_context(_provider(folder))
        fleet = held.enter_context(Fleet(folder / "logs", now_s))
        yield Cluster(Brokers(kafka), fleet, settings, folder, port, protocol)


@contextmanager
def _provider(folder: Path) -> Iterator[int]:
    script, port = folder / "script.yaml", free_port()
    script.write_text(yaml.safe_dump(workflows.SCRIPT))
    command = [sys.executable, "-m", "headrace.workers.adapters.faulty", "--port", str(port), "--script", str(script)]
    process = spawn_attached(command, log=folder / "logs" / "provider.log", env=dict(os.environ))
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)

"""A whole deployment on this machine for the time of a benchmark: broker, orchestrators, workers, provider."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from headrace.runtime.brokers import broker_for
from headrace.runtime.kafka import admin_client
from headrace.runtime.local_kafka_state import read_state
from headrace.runtime.pools import load_pools
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.runtime.topic_plan import ensure_topics


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a benchmark talks to."""

    settings: Settings
    supervisor: Supervisor
    admin_ports: dict[str, int]
    """By process name."""
    provider_url: str
    environment: Mapping[str, str]
    """Of our processes."""
    broker_pid: int | None = None
    """Of the broker's JVM, where this benchmark started it."""

    def start(self, name: str, module: list[str], environment: Mapping[str, str], restarts: int) -> None:
        """Start one of our processes and wait until it is ready."""
        port = self.admin_ports[name] = free_port()
        env = {**environment, "HEADRACE_ADMIN__PORT": str(port)}
        command = [sys.executable, "-m", *module]
        ready = f"http://127.0.0.1:{port}/readyz"
        self.supervisor.start(
            ProcessSpec(name, command, env=env, ready=ready, ready_timeout_s=60, max_restarts=restarts)
        )

    def spawn(self, name: str, module: list[str]) -> None:
        """Start one of our processes without waiting for it."""
        port = self.admin_ports[name] = free_port()
        env = {**self.environment, "HEADRACE_ADMIN__PORT": str(port)}
        self.supervisor.start(ProcessSpec(name, [sys.executable, "-m", *module], env=env))

    def start_provider(self, port: int, script: Mapping[str, object] | None, path: Path) -> None:
        """Start the scripted provider."""
        command = [sys.executable, "-m", "headrace.workers.adapters.faulty", "--port", str(port)]
        if script is not None:
            path.write_text(yaml.safe_dump(dict(script)))
            command += ["--script", str(path)]
        self.supervisor.start(ProcessSpec("provider", command, ready=f"{self.provider_url}/health"))

    def pid(self, process: str) -> int:
        """Return a running process's id."""
        return next(int(status.pid or 0) for status in self.supervisor.status() if status.name == process)

    def buckets(self, process: str, name: str) -> dict[float, float]:
        """Return a histogram by its buckets' upper bounds, in seconds: how many were at most that, labels summed."""
        found: dict[float, float] = {}
        for line in self._metrics(process):
            if line.startswith(f"{name}_bucket{{"):
                bound = float(line.partition('le="')[2].partition('"')[0])
                found[bound] = found.get(bound, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def metric(self, process: str, name: str, **labels: str) -> float:
        """Return the sum of a metric over its labels, or over those that are not given; from ``/metrics``."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [line for line in self._metrics(process) if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found if all(one in line for one in wanted))

    def _metrics(self, process: str) -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_ports[process]}/metrics", timeout=5) as page:
            text: str = page.read().decode()
        return text.splitlines()

    def cpu_seconds(self, process: str) -> float:
        """Return the CPU time that a process has used (Linux)."""
        return cpu_seconds(self.pid(process))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def deployment(
    *,
    workers: Mapping[str, int],
    orchestrators: int = 1,
    provider: bool = False,
    script: Mapping[str, object] | None = None,
    servers: str | None = None,
    restarts: int = 0,
    kafka: Mapping[str, object] | None = None,
    extra: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """Start everything, and stop it after.

    Args:
        workers: how many worker processes of each pool: ``noop``, ``http``.
        orchestrators: how many orchestrator processes.
        provider: whether to start the scripted provider, which the pool ``http`` calls.
        script: what the provider does; nothing but answer where left out.
        servers: a Kafka that runs already; left out, one is started.
        restarts: how often a process that crashed is started again.
        kafka: further settings of group ``kafka``: credentials, librdkafka's options.
        extra: further environment of our processes.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        folder = Path(name)
        provider_port = free_port()
        pools = folder / "pools.yaml"
        pools.write_text(yaml.safe_dump(_pools(provider_port)))
        with (
            broker_for(folder / "kafka", given=servers, reuse=False) as broker,
            Supervisor(folder / "logs") as supervisor,
        ):
            prefix = f"bench-{uuid.uuid4().hex[:6]}"
            environment = {
                "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "HEADRACE_TOPICS__PREFIX": prefix,
                "HEADRACE_POOLS_FILE": str(pools),
                "HEADRACE_DATA_DIR": str(folder / "data"),
                "HEADRACE_CHECKED": "",  # Tests start deployments, too.
                **{f"HEADRACE_KAFKA__{name.upper()}": _text(value) for name, value in (kafka or {}).items()},
                **(extra or {}),
            }
            settings = Settings.model_validate(
                {
                    "kafka": {"bootstrap_servers": broker.bootstrap_servers, **(kafka or {})},
                    "topics": {"prefix": prefix},
                    "pools_file": pools,
                    "data_dir": folder / "data",
                }
            )
            ensure_topics(admin_client(settings), settings, list(load_pools(pools).pools))
            url, pid = f"http://127.0.0.1:{provider_port}", _broker_pid(broker.data)
            here = Deployment(settings, supervisor, {}, url, environment, pid)
            if provider:
                here.start_provider(provider_port, script, folder / "script.yaml")
            for number in range(orchestrators):
                slot = f"orchestrator-{number}"
                here.start(slot, ["headrace.orchestrator", "--slot", slot], environment, restarts)
            for pool, count in workers.items():
                for number in range(count):
                    here.start(f"worker-{pool}-{number}", ["headrace.workers", pool], environment, restarts)
            yield here


def _broker_pid(data: Path | None) -> int | None:
    known = read_state(data) if data else None
    return known.processes[0].pid if known and len(known.processes) == 1 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pools(provider_port: int) -> dict[str, object]:
    return {
        "endpoints": {
            "here": {"adapter": "noop", "public": False},
            "scripted": {
                "adapter": "openai",
                "base_url": f"http://127.0.0.1:{provider_port}/v1",
                "public": False,
            },
        },
        "pools": {
            "noop": {"endpoint": "here", "model": "noop", "concurrency": 512},
            "http": {"endpoint": "scripted", "model": "scripted", "concurrency": 64},
            "tiny": {"endpoint": "here", "model": "tiny", "context_tokens": 64},
        },
    }

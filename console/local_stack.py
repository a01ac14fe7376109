"""Everything that a deployment on this machine needs, started in order and stopped in the other order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import yaml

from headrace.console.deployment import listens, orchestrator_spec, provider_spec, worker_spec
from headrace.console.local_files import UpState, forget_up, read_up, write_up
from headrace.console.models import example_pools, model_spec
from headrace.console.options import settings_with_servers
from headrace.runtime.brokers import broker_for
from headrace.runtime.kafka import wait_for_broker
from headrace.runtime.local_model import ModelServer, bundled_small_model, server_available
from headrace.runtime.pools import load_pools
from headrace.runtime.processes import ProcessRef
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.errors import ConfigError, DependencyUnavailable
from headrace.schemas.pools import PoolsFile

_RESTARTS = 5
"""Crashes in a row of one process before ``up`` leaves it down."""


@dataclass(frozen=True, slots=True)
class StackSize:
    """How much of it."""

    orchestrators: int = 1
    workers: int = 1
    """Of each pool."""
    scripted: bool = False
    """Whether the scripted provider answers where a pool's endpoint is on this machine."""


class LocalStack:
    """A context manager: started on entry, drained and stopped on exit, found by ``headrace down``.

    Args:
        settings: broker, prefix and pools; what is left out is provided here.
        size: how many processes.
        workflows: folders or files; None for the examples.
        say: takes one line for people.
    """

    def __init__(
        self, settings: Settings, size: StackSize, workflows: list[Path] | None, *, say: Callable[[str], None]
    ) -> None:
        self._settings, self._size, self._say = settings, size, say
        self._workflows = workflows
        self._held = ExitStack()

    def __enter__(self) -> Self:
        if running := read_up(self._settings):
            raise ConfigError(f"headrace up runs already (pid {running.pid})", "stop it with: headrace down")
        with self._held:  # Whatever fails half-way stops what was started.
            self._start()
            self._held = self._held.pop_all()
        return self

    def _start(self) -> None:
        given = self._settings.kafka.bootstrap_servers or None
        broker = self._held.enter_context(broker_for(self._settings.data_path / "kafka", given=given))
        self._say(f"Kafka at {broker.bootstrap_servers}: {broker.choice.reason}")
        settings = settings_with_servers(self._settings, broker.bootstrap_servers)
        settings = settings.model_copy(update={"pools_file": self._pools_file()})
        pools = load_pools(settings.pools_file)
        ensure_topics(wait_for_broker(settings), settings, pools.pools)
        logs = settings.data_path / "logs"
        self.supervisor = self._held.enter_context(Supervisor(logs))
        for spec in local_endpoints(pools, scripted=self._size.scripted):
            self.supervisor.start(spec)
        start_together(self.supervisor, list(self._services(settings, pools)))
        self._held.callback(forget_up, settings)
        write_up(settings, _state(settings, logs))
        for process in self.supervisor.status():
            self._say(f"{process.name:<24} pid {process.pid}  log {process.log}")

    def _pools_file(self) -> Path:
        if self._settings.pools_file is not None:
            return self._settings.pools_file
        path = self._settings.data_path / "pools.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(example_pools()), encoding="utf-8")
        return path

    def _services(self, settings: Settings, pools: PoolsFile) -> Iterator[ProcessSpec]:
        folders = self._workflows or list(settings.orchestrator.workflows)
        if not folders:  # Of the examples those that need no pools of their own.
            found = sorted(self._held.enter_context(as_file(files("headrace.examples"))).glob("*/workflow.yaml"))
            folders = [path for path in found if not path.with_name("pools.yaml").exists()]
        for number in range(1, self._size.orchestrators + 1):
            yield orchestrator_spec(settings, number, workflows=folders, max_restarts=_RESTARTS)
        for pool in pools.pools:
            for number in range(1, self._size.workers + 1):
                yield worker_spec(settings, pool, number, max_restarts=_RESTARTS)

    def wait(self) -> int:
        """Run until Ctrl-C, SIGTERM or the end of every process; return the exit code."""
        self._say("ready; Ctrl-C drains and stops")
        return self.supervisor.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def start_together(supervisor: Supervisor, specs: list[ProcessSpec]) -> None:
    """Start processes side by side and wait until all are ready: Python's start takes longer than any of their own.

    Raises:
        DependencyUnavailable: one did not become ready.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(specs))) as threads:
        for started in [threads.submit(supervisor.start, spec) for spec in specs]:
            started.result()


def local_endpoints(pools: PoolsFile, *, scripted: bool) -> Iterator[ProcessSpec]:
    """Yield what must be started behind endpoints on the loopback interface where nobody listens yet.

    Raises:
        DependencyUnavailable: a model server is needed and none can run here.
    """
    ports: dict[int, list[str]] = {}
    for pool in pools.pools.values():
        url = urlsplit(pools.endpoints[pool.endpoint].base_url)
        if url.hostname in ("127.0.0.1", "localhost") and url.port and not listens(url.port):
            ports.setdefault(url.port, []).append(pool.model)
    for port, names in ports.items():
        if scripted:
            yield provider_spec(port, None)
            continue
        if reason := server_available():
            raise DependencyUnavailable(reason, "headrace up --provider uses the scripted provider")
        yield model_spec(ModelServer(bundled_small_model(), tuple(dict.fromkeys(names)), port))


def _state(settings: Settings, logs: Path) -> UpState:
    me = ProcessRef.of(os.getpid())
    assert me is not None, "this process lives"
    return UpState(
        pid=me.pid,
        started=me.started,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        prefix=settings.topics.prefix,
        pools_file=str(settings.pools_file),
        logs=str(logs),
    )

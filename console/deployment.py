"""The processes of a deployment on this machine: their names, how they are started and known to be ready."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.runtime.settings import Settings

if TYPE_CHECKING:
    from headrace.runtime.supervisor import ProcessSpec

HOST = "127.0.0.1"
ORCHESTRATOR_STAGE, WORKER_STAGE, MODEL_STAGE = 1, 2, 0
"""Workers drain first, while the orchestrator still takes their results; what they call stops last."""


def service_environment(
    settings: Settings, *, slot: str | None = None, workflows: list[Path] | None = None, admin_port: int | None = None
) -> dict[str, str]:
    """Return what a service needs in its environment beyond what it inherits: our flags, as variables.

    Passwords are inherited, never passed on a command line, where every user of the machine could read them.
    """
    added = {
        "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "HEADRACE_TOPICS__PREFIX": settings.topics.prefix,
        "HEADRACE_TOPICS__PARTITIONS": str(settings.topics.partitions),
        "HEADRACE_TOPICS__TASK_PARTITIONS": str(settings.topics.task_partitions),
        "HEADRACE_DATA_DIR": str(settings.data_path.absolute()),
    }
    if settings.pools_file is not None:
        added["HEADRACE_POOLS_FILE"] = str(settings.pools_file.expanduser().absolute())
    if slot is not None:
        added["HEADRACE_ORCHESTRATOR__SLOT"] = slot
    if workflows:
        added["HEADRACE_ORCHESTRATOR__WORKFLOWS"] = json.dumps([str(path.absolute()) for path in workflows])
    if admin_port is not None:
        added["HEADRACE_ADMIN__PORT"] = str(admin_port)
    return added


def worker_command(pool: str, concurrency: int | None = None) -> list[str]:
    """Return the command line of one worker."""
    more = ["--concurrency", str(concurrency)] if concurrency else []
    return [sys.executable, "-m", "headrace.workers", pool, *more]


def provider_command(port: int, script: Path | None = None, recorded: Path | None = None) -> list[str]:
    """Return the command line of the scripted provider; with `recorded` it replays a file of recorded answers."""
    more = ["--script", str(script)] if script else []
    more += ["--recorded", str(recorded)] if recorded else []
    return [sys.executable, "-m", "headrace.workers.adapters.faulty", "--port", str(port), *more]


def orchestrator_spec(settings: Settings, number: int, *, workflows: list[Path], max_restarts: int = 0) -> ProcessSpec:
    """Return one orchestrator; its slot follows from its number, so a restart takes its own place."""
    from headrace.runtime.supervisor import ProcessSpec

    port = free_port()
    return ProcessSpec(
        name=f"orchestrator-{number}",
        command=[sys.executable, "-m", "headrace.orchestrator"],
        env=service_environment(settings, slot=f"local-{number}", workflows=workflows, admin_port=port),
        ready=f"http://{HOST}:{port}/readyz",
        ready_timeout_s=60.0,
        max_restarts=max_restarts,
        stage=ORCHESTRATOR_STAGE,
        drain_timeout_s=20.0,
    )


def worker_spec(
    settings: Settings, pool: str, number: int, *, concurrency: int | None = None, max_restarts: int = 0
) -> ProcessSpec:
    """Return one worker. Live is ready enough: a worker beyond the partition count never gets a partition."""
    from headrace.runtime.supervisor import ProcessSpec

    port = free_port()
    return ProcessSpec(
        name=f"worker-{pool}-{number}",
        command=worker_command(pool, concurrency),
        env=service_environment(settings, admin_port=port),
        ready=f"http://{HOST}:{port}/livez",
        ready_timeout_s=60.0,
        max_restarts=max_restarts,
        stage=WORKER_STAGE,
        drain_timeout_s=settings.worker.drain_timeout_s + 5.0,
    )


def provider_spec(port: int, script: Path | None) -> ProcessSpec:
    """Return the scripted provider."""
    from headrace.runtime.supervisor import ProcessSpec

    return ProcessSpec(
        name="provider", command=provider_command(port, script), ready=lambda: listens(port), stage=MODEL_STAGE
    )


def listens(port: int) -> bool:
    """Whether something accepts connections on a port of the loopback interface."""
    try:
        with socket.create_connection((HOST, port), timeout=0.5):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port that is free now; who takes it must be ready to find it taken."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])

"""What is known of a local broker from its data folder: who runs it, where, and whether that is still true."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headrace.runtime.processes import ProcessRef, end, rss_bytes

STATE_FILE = "broker.json"


def stop_timeout_s(nodes: int) -> float:
    """Return how long a clean stop may take before SIGKILL.

    One node needs 0.3 s. Three that stop together need 6 s (measured), and longer with one of them dead, because the
    last ones wait for a quorum to take leave of. After SIGKILL the next start checks open segments, nothing more.
    """
    return 15.0 if nodes == 1 else 5.0


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The content of the state file, written as soon as a JVM runs, so that none is ever unknown."""

    kafka_version: str
    bootstrap_servers: str
    sasl_bootstrap_servers: str | None
    attached: bool
    """Whether the broker dies with the process that started it."""
    ready: bool
    """False from the JVMs' start until clients are served."""
    processes: tuple[ProcessRef, ...]
    """One JVM a node, node 1 first."""

    @property
    def alive(self) -> list[ProcessRef]:
        """The processes that still run and still are the same."""
        return [process for process in self.processes if process.alive()]


State = Literal["starting", "running", "degraded", "stale", "stopped"]


@dataclass(frozen=True, slots=True)
class LocalKafkaStatus:
    """What `headrace kafka status` shows."""

    state: State
    """``degraded``: some nodes died; ``stale``: a state file whose processes are gone (a crash or a reboot)."""
    bootstrap_servers: str | None
    pids: tuple[int, ...]
    rss_bytes: int
    kafka_version: str | None
    attached: bool
    data: Path
    logs: tuple[Path, ...]

    @property
    def running(self) -> bool:
        """Whether clients can be served."""
        return self.state in ("running", "degraded")


def log_file(data: Path, node_id: int) -> Path:
    """Return the log file of a node."""
    return data / f"node-{node_id}.log"


def write_state(data: Path, state: BrokerState) -> None:
    """Replace the state file at once, so that nobody reads half of it."""
    draft = data / f"{STATE_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    draft.replace(data / STATE_FILE)


def read_state(data: Path) -> BrokerState | None:
    """Return what the state file says, or None if there is none that can be read."""
    try:
        found = json.loads((data / STATE_FILE).read_text(encoding="utf-8"))
        processes = tuple(ProcessRef(**item) for item in found.pop("processes"))
        return BrokerState(processes=processes, **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def forget_state(data: Path) -> None:
    """Remove the state file."""
    (data / STATE_FILE).unlink(missing_ok=True)


def status(data: Path) -> LocalKafkaStatus:
    """Return what runs in a data folder; never raises for a folder that is not there."""
    known = read_state(data)
    if known is None:
        return LocalKafkaStatus("stopped", None, (), 0, None, False, data, ())
    alive = known.alive
    return LocalKafkaStatus(
        state=_judge(known, len(alive)),
        bootstrap_servers=known.bootstrap_servers if alive and known.ready else None,
        pids=tuple(process.pid for process in alive),
        rss_bytes=sum(rss_bytes(process.pid) or 0 for process in alive),
        kafka_version=known.kafka_version,
        attached=known.attached,
        data=data,
        logs=tuple(log_file(data, node) for node in range(1, len(known.processes) + 1)),
    )


def _judge(known: BrokerState, alive: int) -> State:
    if alive == 0:
        return "stale"
    if not known.ready:
        return "starting"
    return "running" if alive == len(known.processes) else "degraded"


def stop(data: Path) -> bool:
    """End the broker of a data folder; a state file whose processes are gone is only removed.

    Returns:
        Whether there was anything to stop.
    """
    known = read_state(data)
    alive = known.alive if known else []
    if known:
        end(alive, timeout_s=stop_timeout_s(len(known.processes)))
    forget_state(data)
    return bool(alive)

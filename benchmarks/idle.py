"""What a deployment without work costs, and how soon each of its processes is ready once Kafka is up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.deployment import Deployment, deployment
from benchmarks.memory import resident_mb
from benchmarks.report import Report, spread

MODULES = {
    "orchestrator": ["headrace.orchestrator", "--slot", "orchestrator-0"],
    "worker": ["headrace.workers", "noop"],
}
"""In the order in which they are started: each as the only one of its kind."""
SETTLE_S = 10.0
LOOK_S = 0.01
READY_S = 60.0
BARS = {"cpu_percent": 2.0, "rss_mb": 90.0, "start_s": 1.5}


def run(quick: bool) -> Report:
    """Start and stop each process several times, then leave them alone and look.

    A process is stopped as an operator or Kubernetes would: SIGTERM, then its exit is awaited.

    The first start on a new broker stands apart: Kafka makes its own topics for groups and transactions then. No start
    compiles Python modules, whatever this shell says of bytecode: see `bytecode`.
    """
    rounds, seconds = (3, 15.0) if quick else (7, 60.0)
    with bytecode() as compiled, deployment(workers={}, orchestrators=0, extra=compiled) as here:
        starts: dict[str, list[float]] = {role: [] for role in MODULES}
        for number in range(rounds + 1):
            for role in MODULES:
                starts[role].append(start(here, f"{role}-{number}", role))
            if number < rounds:
                for role in reversed(MODULES):
                    here.supervisor.stop(f"{role}-{number}")
        names = {role: f"{role}-{rounds}" for role in MODULES}
        time.sleep(SETTLE_S)
        before, began = {role: here.cpu_seconds(name) for role, name in names.items()}, time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        return Report(
            {
                role: {
                    "cpu_percent": round((here.cpu_seconds(name) - before[role]) / passed * 100, 2),
                    "rss_mb": resident_mb(here.pid(name)),
                    **spread(starts[role][1:], "start_s", digits=2),
                    "first_start_s": round(starts[role][0], 2),
                    **{f"bar_{figure}": bar for figure, bar in BARS.items()},
                    "looked_s": round(passed),
                }
                for role, name in names.items()
            }
        )


@contextmanager
def bytecode() -> Iterator[dict[str, str]]:
    """Give the environment of processes that find their modules compiled, as pip and our image leave them.

    Where Python may write no bytecode, as ``PYTHONDONTWRITEBYTECODE`` says in many a shell for development, each start
    compiles every module of ours again: half a second that nobody sees who has installed the package.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bytecode-") as folder:
        environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}
        for module, *_ in MODULES.values():
            command = [sys.executable, "-c", f"import {module}.__main__"]
            subprocess.run(command, check=True, env={**os.environ, **environment})
        yield environment


def start(here: Deployment, name: str, role: str) -> float:
    """Start a process; return the seconds from its spawn until it says that it is ready."""
    began = time.perf_counter()
    here.spawn(name, MODULES[role])
    ready = f"http://127.0.0.1:{here.admin_ports[name]}/readyz"
    while not _answers(ready):
        assert time.perf_counter() - began < READY_S, f"{name} is not ready"
        time.sleep(LOOK_S)
    return time.perf_counter() - began


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False

"""One worker on prefilled topics: tasks/s on the in-process echo, and over HTTP to the scripted provider at 0 ms.

``python benchmarks/worker_throughput.py --bootstrap HOST:PORT [--tasks 20000] [--http] [--concurrency 64]``

The time runs from the first result's timestamp to the last one's, as Kafka wrote them, so start-up does not count. CPU
is that of the worker process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.integration.worker_fixtures import World, provider, task


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(options: argparse.Namespace, folder: Path, base_url: str) -> dict[str, object]:
    world = World(options.bootstrap, f"b{uuid.uuid4().hex[:8]}", folder, partitions=12)
    world.produce([task(number) for number in range(options.tasks)])
    try:
        concurrency = options.concurrency if base_url else 8
        level = "warning" if options.quiet else "info"
        worker = world.worker(world.pools_file(base_url=base_url, concurrency=concurrency), HEADRACE_LOG_LEVEL=level)
        seen = world.read(world.topics.results, lambda found: len(found) >= options.tasks, timeout_s=300)
        used = cpu_s(worker.pid)
        stamps = [message.timestamp()[1] for message in seen]
        seconds = (max(stamps) - min(stamps)) / 1_000
        world.wait_for_no_lag()
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        return {
            "mode": "http" if base_url else "noop",
            "tasks": options.tasks,
            "seconds": round(seconds, 2),
            "tasks_per_s": round(options.tasks / max(seconds, 1e-3)),
            "worker_cpu_us_per_task": round(used / options.tasks * 1e6),
        }
    finally:
        world.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no canonical line for each attempt")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.http:
            with provider(folder) as base_url:
                found = measure(options, folder, base_url)
        else:
            found = measure(options, folder, "")
    print(json.dumps({**found, "wall_s": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()

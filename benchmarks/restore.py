"""How long a new process takes to have every live task in memory, on a ``state`` topic worn by an hour of load."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.deployment import Deployment, deployment
from benchmarks.fanout import once
from benchmarks.report import Report
from headrace.console.client import HeadraceClient

HOUR_TASKS = 360_000
"""An hour of 100 tasks a second, as a few workers of a model make them; here at the engine's own pace."""
WEAR_JOB = 10_000
LIVE_JOB = 2_500
BARS_S = {10_000: 1.0, 100_000: 5.0}
READY_S = 120.0
EXTRA = {"HEADRACE_ORCHESTRATOR__MAX_IN_FLIGHT": "65536", "HEADRACE_ORCHESTRATOR__POOL_WINDOW": "1000000"}


def run(quick: bool) -> Report:
    """Wear the topic, then restore with few and with many live tasks: all partitions, in one process."""
    with deployment(workers={"noop": 1}, extra=EXTRA) as here:
        worn = _wear(here, HOUR_TASKS // 10 if quick else HOUR_TASKS)
        figures: dict[str, Any] = {"worn": worn}
        live, name = 0, "orchestrator-0"
        for number, (tasks, bar_s) in enumerate(BARS_S.items()):
            _dispatch(here, tasks - live, f"live-{number}", name)
            live = tasks
            seconds = []
            for again in range(3):
                os.kill(here.pid(name), signal.SIGKILL)
                name = f"restored-{number}-{again}"
                here.start(name, ["headrace.orchestrator", "--slot", "orchestrator-0"], here.environment, 0)
                found = restored(here, name)
                assert found["tasks"] == tasks, found
                seconds.append(found["seconds"])
            figures[f"live_{tasks}"] = {"bar_s": bar_s, "max_s": max(seconds), "min_s": min(seconds), **found}
        return Report(figures)


def _wear(here: Deployment, tasks: int) -> dict[str, Any]:
    began = time.perf_counter()
    with HeadraceClient(here.settings) as client:
        for _ in range(tasks // WEAR_JOB):
            once(client, "noop", WEAR_JOB, 2_048)
    time.sleep(20.0)  # The log cleaner looks every 15 s.
    return {"tasks": tasks, "seconds": round(time.perf_counter() - began)}


def _dispatch(here: Deployment, tasks: int, name: str, orchestrator: str) -> None:
    """Fan jobs out to a pool where nobody works, and wait until all their tasks are out."""
    step = {
        "for_each": "{{ input.items }}",
        "max_in_flight": LIVE_JOB,
        "llm": {"pool": "tiny", "prompt": "note {{ item }}"},
    }
    document = {"name": "live", "version": 1, "steps": {"work": step}}
    before = here.metric(orchestrator, "headrace_tasks_dispatched_total")
    with HeadraceClient(here.settings) as client:
        for number in range(tasks // LIVE_JOB):
            client.submit(document, {"items": list(range(LIVE_JOB))}, job_id=f"{name}-{number}")
    deadline = time.monotonic() + READY_S
    while here.metric(orchestrator, "headrace_tasks_dispatched_total") - before < tasks:
        assert time.monotonic() < deadline, "the tasks were not dispatched"
        time.sleep(0.2)
    time.sleep(2.0)


def restored(here: Deployment, name: str) -> dict[str, Any]:
    """Return what a process's log says of its restore: from its partitions' assignment until it works them all."""
    log = Path(next(status.log for status in here.supervisor.status() if status.name == name))
    partitions = here.settings.topics.partitions
    deadline = time.monotonic() + READY_S
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        taken = [line for line in lines if line["event"] == "partitions.taken_over"]
        if sum(len(line["partitions"]) for line in taken) >= partitions:
            break
        assert time.monotonic() < deadline, log.read_text()[-2_000:]
        time.sleep(0.1)
    assigned = next(line for line in lines if line["event"] == "partitions.assigned")
    restored = [line for line in lines if line["event"] == "partition.restored"]
    seconds = _at(taken[-1]) - _at(assigned)
    return {
        "seconds": round(seconds, 2),
        "records": sum(line["records"] for line in restored),
        "tasks": sum(line["tasks"] for line in restored),
    }


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()

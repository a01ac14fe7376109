"""One job whose items come by reference: what it takes of the orchestrator's memory and time, part by part."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.deployment import Deployment, deployment
from benchmarks.payload import PAYLOAD
from benchmarks.report import Report
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

PROMPT = "{{ item.n }} {{ item.text | length }}"
"""Short answers: finished items lie in memory until their job ends, and this is about the items."""
STEP = {"for_each": "{{ input.items }}", "max_in_flight": 2_048, "llm": {"pool": "noop", "prompt": PROMPT}}
WORKFLOW = {"name": "items", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}
"""Its outcome counts the outputs: a list of a million is no value for a message (docs/workflows.md, "Long lists")."""
ORCHESTRATOR = "orchestrator-0"


def run(quick: bool) -> Report:
    """A job of a million items of 330 bytes; of a hundred thousand with ``quick``."""
    with deployment(workers={"noop": 1}) as here:
        return Report({"by_reference": measure(here, 100_000 if quick else 1_000_000)})


def measure(here: Deployment, items: int, *, timeout_s: float = 3_600) -> dict[str, float]:
    """Upload items and run a job of them, watching the orchestrator's memory."""
    with HeadraceClient(here.settings) as client:
        client.outcome(client.submit(WORKFLOW, items=lines(1_000)), timeout_s=60)  # Everything is loaded by then.
        began = time.perf_counter()
        ref = client.upload_items(lines(items))
        uploaded = time.perf_counter() - began
        pid = here.pid(ORCHESTRATOR)
        idle = resident_mb(pid)
        before = here.cpu_seconds(ORCHESTRATOR)
        began = time.perf_counter()
        with watched(here, items) as seen:
            outcome = client.outcome(client.submit(WORKFLOW, items=ref), timeout_s=timeout_s)
        seconds = time.perf_counter() - began
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, items), outcome
    return {
        "items": items,
        "parts": len(ref.parts),
        "megabytes": round(sum(part.size_bytes for part in ref.parts) / 1e6, 1),
        "upload_s": round(uploaded, 1),
        "run_s": round(seconds, 1),
        "tasks_per_s": round(items / seconds, 1),
        "orchestrator_cpu_us_per_task": round((here.cpu_seconds(ORCHESTRATOR) - before) / items * 1e6, 1),
        "rss_mb_idle": idle,
        "rss_mb_after_a_tenth": seen.get(0.1, 0.0),
        "rss_mb_after_half": seen.get(0.5, 0.0),
        "rss_mb_peak": peak_mb(pid),
    }


def lines(count: int) -> Iterator[dict[str, Any]]:
    """Yield items, each another."""
    return ({"n": number, "text": f"{number}:{PAYLOAD}"} for number in range(count))


@contextmanager
def watched(here: Deployment, items: int) -> Iterator[dict[float, float]]:
    """Note the orchestrator's memory once a tenth and a half of the tasks are dispatched."""
    seen: dict[float, float] = {}
    ended = threading.Event()
    start = here.metric(ORCHESTRATOR, "headrace_tasks_dispatched_total")

    def watch() -> None:
        while not ended.wait(0.2):
            share = (here.metric(ORCHESTRATOR, "headrace_tasks_dispatched_total") - start) / items
            for mark in (0.1, 0.5):
                if share >= mark and mark not in seen:
                    seen[mark] = resident_mb(here.pid(ORCHESTRATOR))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(5)


def resident_mb(pid: int) -> float:
    """Return a process's resident memory now (Linux)."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """Return the most that a process ever had resident (Linux)."""
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) / 1_024, 1)
    raise KeyError(name)

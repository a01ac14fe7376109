"""One job that fans out to many tasks and gathers them, from submit to outcome."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.deployment import Deployment, deployment
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

PAYLOAD = "x" * 300


def workflow(pool: str, max_in_flight: int) -> dict[str, Any]:
    """Return a workflow of one fan-out step."""
    llm = {"pool": pool, "prompt": "{{ item }}"}
    step = {"for_each": "{{ input.items }}", "max_in_flight": max_in_flight, "llm": llm}
    return {"name": "fanout", "version": 1, "steps": {"work": step}, "output": "{{ work | length }}"}


def once(client: HeadraceClient, pool: str, tasks: int, max_in_flight: int) -> float:
    """Run one job and return the seconds from submit to outcome."""
    # One payload repeated would make the submission larger than the work: the items are built from an index.
    items = [f"{number}:{PAYLOAD}" if tasks <= 2_000 else number for number in range(tasks)]
    document = workflow(pool, max_in_flight)
    if tasks > 2_000:
        document["steps"]["work"]["llm"]["prompt"] = "{{ item }}:" + PAYLOAD
    began = time.perf_counter()
    outcome = client.outcome(client.submit(document, {"items": items}), timeout_s=300)
    seconds = time.perf_counter() - began
    assert outcome.status is JobStatus.SUCCEEDED, outcome
    assert outcome.output == tasks, outcome.output
    return seconds


def measure(here: Deployment, pool: str, tasks: int, runs: int, max_in_flight: int) -> dict[str, float]:
    """Warm up, then run several times; CPU times are of the timed runs."""
    worker, orchestrator = f"worker-{pool}-0", "orchestrator-0"
    with HeadraceClient(here.settings) as client:
        once(client, pool, min(tasks, 2_000), max_in_flight)
        before = here.cpu_seconds(worker), here.cpu_seconds(orchestrator)
        seconds = [once(client, pool, tasks, max_in_flight) for _ in range(runs)]
        after = here.cpu_seconds(worker), here.cpu_seconds(orchestrator)
    total = tasks * runs
    return {
        "tasks": tasks,
        "runs": runs,
        "tasks_per_s": round(tasks / statistics.median(seconds), 1),
        "tasks_per_s_min": round(tasks / max(seconds), 1),
        "tasks_per_s_max": round(tasks / min(seconds), 1),
        "worker_cpu_us_per_task": round((after[0] - before[0]) / total * 1e6, 1),
        "orchestrator_cpu_us_per_task": round((after[1] - before[1]) / total * 1e6, 1),
    }


def run(quick: bool) -> dict[str, Any]:
    """Fan out on the pool ``noop``: the engine alone."""
    with deployment(workers={"noop": 1}) as here:
        tasks, runs = (2_000, 3) if quick else (10_000, 5)
        return {
            "max_in_flight_2048": measure(here, "noop", tasks, runs, 2_048),
            "max_in_flight_256": measure(here, "noop", tasks, runs, 256),
        }


def run_http(quick: bool) -> dict[str, Any]:
    """Fan out over HTTP to the scripted provider at 0 ms, in its own process."""
    with deployment(workers={"http": 1}, provider=True) as here:
        tasks, runs = (1_000, 3) if quick else (10_000, 3)
        return {"http": measure(here, "http", tasks, runs, 2_048)}

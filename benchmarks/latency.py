"""One job of one task at a time: submit to outcome."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.deployment import deployment
from headrace.console.client import HeadraceClient

WORKFLOW = {"name": "one", "version": 1, "steps": {"answer": {"llm": {"pool": "http", "prompt": "{{ input.word }}"}}}}


def run(quick: bool) -> dict[str, Any]:
    """Measure against the scripted provider at 0 ms, over HTTP."""
    jobs = 100 if quick else 500
    with deployment(workers={"http": 1}, provider=True) as here, HeadraceClient(here.settings) as client:
        for _ in range(30):
            client.outcome(client.submit(WORKFLOW, {"word": "warm"}), timeout_s=30)
        seconds = []
        for number in range(jobs):
            began = time.perf_counter()
            client.outcome(client.submit(WORKFLOW, {"word": str(number)}, lane="interactive"), timeout_s=30)
            seconds.append(time.perf_counter() - began)
        cuts = statistics.quantiles(seconds, n=100)
        return {
            "one_task_job": {
                "jobs": jobs,
                "p50_ms": round(cuts[49] * 1e3, 2),
                "p90_ms": round(cuts[89] * 1e3, 2),
                "p99_ms": round(cuts[98] * 1e3, 2),
            }
        }

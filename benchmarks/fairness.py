"""Interactive jobs of one task while a batch job of 100,000 runs on the same pool, and while it does not.

The provider takes 200 ms over HTTP, the pool's one worker makes 32 calls side by side, and the batch job would take
all of them. A pair is the same timetable of callers with and without the batch job, which goes first by turns. How
fast the batch job goes on is measured too, with the callers and without: neither lane may starve the other.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.callers import Callers
from benchmarks.deployment import Deployment, deployment
from benchmarks.payload import PAYLOAD
from benchmarks.report import Report, paired, spread
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import ItemsRef, JobStatus

LATENCY_MS = 200
CONCURRENCY = 32
TASKS = 100_000
"""Of the batch job: ten minutes of work, so that it never ends while callers are measured."""
PER_S = 8.0
WARM = 5
WARM_S = 20.0
"""Before the clock runs, with the batch job: the broker's JVM compiles meanwhile, on the cores that are measured."""
ALONE_S = 10.0
"""How long the batch job is watched before any caller came, and after the warm-up."""
WORKER = "worker-http"
STEP = {"for_each": "{{ input.items }}", "llm": {"pool": "http", "prompt": "{{ item }}:" + PAYLOAD}}
BATCH = {"name": "batch", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}


def run(quick: bool) -> Report:
    """Measure five pairs of 200 jobs; two of 100 with ``quick``."""
    pairs, jobs, warm_s = (2, 100, WARM_S / 2) if quick else (5, 200, WARM_S)
    script = {"latency": {"ms": LATENCY_MS}}
    with deployment(workers={}, provider=True, script=script) as here, HeadraceClient(here.settings) as client:
        command = ["headrace.workers", "http", "--concurrency", str(CONCURRENCY)]
        here.start(WORKER, command, here.environment, 0)
        items = client.upload_items({"n": number} for number in range(TASKS))
        callers = Callers(here, "http", per_s=PER_S)
        try:
            with _batch_job(here, client, items) as rate:
                rate(warm_s)
                alone = rate(ALONE_S / 2 if quick else ALONE_S)
                callers.call(WARM + jobs // 2)
            callers.call(WARM)
            return _report([_pair(here, client, callers, items, jobs, number) for number in range(pairs)], jobs, alone)
        finally:
            callers.close()


def _pair(  # noqa: PLR0917
    here: Deployment, client: HeadraceClient, callers: Callers, items: ItemsRef, jobs: int, number: int
) -> dict[str, float]:
    """Measure once with the batch job and once without, the other way round every second time."""
    found: dict[str, float] = {}
    for batch in (True, False) if number % 2 == 0 else (False, True):
        if batch:
            with _batch_job(here, client, items):
                before, began = _done(here), time.perf_counter()
                found |= _named(callers.call(WARM + jobs), "with")
                found["batch_per_s"] = (_done(here) - before) / (time.perf_counter() - began)
        else:
            found |= _named(callers.call(WARM + jobs), "without")
    print({name: round(value, 1) for name, value in found.items()}, file=sys.stderr, flush=True)
    return found


@contextmanager
def _batch_job(here: Deployment, client: HeadraceClient, items: ItemsRef) -> Iterator[Callable[[float], float]]:
    """Run the batch job for the time of the block; yield a function that measures its tasks a second."""
    began = _done(here)
    job_id = client.submit(BATCH, items=items)
    deadline = time.monotonic() + 30
    while _done(here) < began + 2 * CONCURRENCY:
        assert time.monotonic() < deadline, "the batch job does not begin"
        time.sleep(0.1)

    def rate(seconds: float) -> float:
        before, at = _done(here), time.perf_counter()
        time.sleep(seconds)
        return (_done(here) - before) / (time.perf_counter() - at)

    yield rate
    assert rate(1.0) > 0, "the batch job stood still"
    client.cancel(job_id)
    outcome = client.outcome(job_id, timeout_s=60)
    assert outcome.status is JobStatus.CANCELLED, outcome
    deadline = time.monotonic() + 60
    while here.metric(WORKER, "headrace_calls_in_flight") or here.metric("orchestrator-0", "headrace_tasks_live"):
        assert time.monotonic() < deadline, "the batch job does not end"
        time.sleep(0.2)
    time.sleep(1.0)  # Its records are tombstoned meanwhile.


def _done(here: Deployment) -> float:
    return here.metric(WORKER, "headrace_tasks_total", lane="batch", outcome="ok")


def _named(seconds: list[float], case: str) -> dict[str, float]:
    cuts = statistics.quantiles(seconds[WARM:], n=100)
    return {f"p50_ms_{case}": cuts[49] * 1e3, f"p99_ms_{case}": cuts[98] * 1e3}


def _report(pairs: list[dict[str, float]], jobs: int, alone: float) -> Report:
    def case(name: str) -> dict[str, float | int]:
        return {
            f"p{cut}{end}": value
            for cut in (50, 99)
            for end, value in _spread(pairs, f"p{cut}_ms_{name}", "_ms").items()
        }

    def column(name: str) -> list[float]:
        return [pair[name] for pair in pairs]

    return Report(
        {
            "with_batch_job": {"jobs": jobs, "jobs_per_s": PER_S, "runs": len(pairs), **case("with")},
            "without": {"jobs": jobs, "jobs_per_s": PER_S, "runs": len(pairs), **case("without")},
            "batch_job": {
                "tasks": TASKS,
                "ideal_tasks_per_s": CONCURRENCY * 1_000 / LATENCY_MS,
                "tasks_per_s_alone": round(alone, 1),
                **spread(column("batch_per_s"), "tasks_per_s_with_callers"),
            },
        },
        {
            "p50": paired(column("p50_ms_with"), column("p50_ms_without")),
            "p99": paired(column("p99_ms_with"), column("p99_ms_without")),
        },
    )


def _spread(pairs: list[dict[str, float]], name: str, unit: str) -> dict[str, float]:
    found = spread([pair[name] for pair in pairs], unit)
    return {end: value for end, value in found.items() if end != "runs"}

"""One, two, four orchestrators and workers, a provider of 50 ms: tasks a second, and what a rebalance costs.

A worker makes 16 calls side by side, so that one does 320 tasks a second at most and four do 1,280: on two cores the
calls are the bound, not the processors, and what is measured is whether the engine spreads the work. (The provider
sleeps in the worker's process: over HTTP it would take the cores that four workers need.) Twelve jobs, one at home on
each partition, have 256 tasks out each (the default) and never end meanwhile: so what stands still in one place leaves
work everywhere else.

Replicas are added while all this runs: first orchestrators, then workers. The time without progress is read from the
records afterwards: the longest gap between two results of all, and between two tasks that were dispatched for one home
partition, since one that changes hands stands still while the others go on. The same gaps of steady times are beside.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import yaml

from benchmarks.deployment import Deployment, deployment
from benchmarks.load import messages
from benchmarks.payload import PAYLOAD
from benchmarks.report import Report, spread
from headrace.console.client import HeadraceClient
from headrace.runtime.kafka import admin_client
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Lane

LATENCY_MS = 50
CONCURRENCY = 16
REPLICAS = (1, 2, 4)
POOL = "scale"
ITEMS = 20_000
"""Of each job: more than all replicas do while they are measured."""
STEP = {"for_each": "{{ input.items }}", "llm": {"pool": POOL, "prompt": "{{ item.n }}:" + PAYLOAD}}
WORKFLOW = {"name": "scale", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}
WARM_S = 15.0
"""Before the clock runs: the broker's JVM compiles meanwhile."""
SETTLE_S = 8.0
"""After the last of the new replicas is ready: a rebalance has ended by then."""

Stamps = Mapping[int, Sequence[int]]
"""By partition, when its records were written, in milliseconds, in order."""
Span = tuple[float, float]
"""From when to when, in milliseconds since the epoch."""


def run(quick: bool) -> Report:
    """Measure 15 seconds of each number of replicas in three deployments; 8 seconds in one with ``quick``."""
    seconds, deployments = (8.0, 1) if quick else (15.0, 3)
    return report([_measure(seconds) for _ in range(deployments)])


@dataclass
class Course:
    """What one deployment did."""

    tasks_per_s: dict[int, float] = field(default_factory=dict)
    """By replicas of each kind."""
    spans: dict[str, Span] = field(default_factory=dict)
    """When all was steady, and when replicas were added."""
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)
    """By span, the longest gaps in milliseconds."""


def _measure(seconds: float) -> Course:
    with deployment(workers={}, orchestrators=0) as here, HeadraceClient(here.settings) as client:
        crew, course, before = _Crew(here), Course(), 0
        for replicas in REPLICAS:
            for kind, add in (("orchestrators", crew.orchestrator), ("workers", crew.worker)):
                began = time.time()
                for number in range(before, replicas):
                    add(number)
                if before:
                    time.sleep(SETTLE_S)
                    course.spans[f"{before}_to_{replicas}_{kind}"] = (began * 1e3, time.time() * 1e3)
            if not before:
                _submit(here, client)
                time.sleep(WARM_S)
            began, done = time.time(), crew.done()
            time.sleep(seconds)
            course.tasks_per_s[replicas] = (crew.done() - done) / (time.time() - began)
            course.spans[f"steady_{replicas}"] = (began * 1e3, time.time() * 1e3)
            before = replicas
        course.gaps = _gaps(here, course.spans)
    print(course.tasks_per_s, course.gaps, file=sys.stderr, flush=True)
    return course


class _Crew:
    """Starts replicas."""

    def __init__(self, here: Deployment) -> None:
        pools: Path = here.settings.data_path.parent / "scale.yaml"
        pools.write_text(yaml.safe_dump(_pools()))
        ensure_topics(admin_client(here.settings), here.settings, [POOL])
        self._here = here
        self._environment = {**here.environment, "HEADRACE_POOLS_FILE": str(pools)}
        self._workers: list[str] = []

    def orchestrator(self, number: int) -> None:
        name = f"scale-orchestrator-{number}"
        self._here.start(name, ["headrace.orchestrator", "--slot", name], self._environment, 0)

    def worker(self, number: int) -> None:
        self._workers.append(name := f"scale-worker-{number}")
        self._here.start(name, ["headrace.workers", POOL], self._environment, 0)

    def done(self) -> float:
        """Return how many tasks all workers have answered."""
        return sum(self._here.metric(worker, "headrace_tasks_total", outcome="ok") for worker in self._workers)


def _pools() -> dict[str, object]:
    endpoint = {"adapter": "noop", "public": False, "latency_ms": LATENCY_MS}
    return {
        "endpoints": {"sleeper": endpoint},
        "pools": {POOL: {"endpoint": "sleeper", "model": POOL, "concurrency": CONCURRENCY}},
    }


def _submit(here: Deployment, client: HeadraceClient) -> None:
    """Submit a job for each partition to be at home on."""
    partitions = here.settings.topics.partitions
    items = client.upload_items({"n": number} for number in range(ITEMS))
    for partition in range(partitions):
        names = (f"job-{partition}-{number}" for number in count())
        job_id = next(name for name in names if home_partition(name, partitions) == partition)
        client.submit(WORKFLOW, items=items, job_id=job_id)


# ── Gaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _gaps(here: Deployment, spans: Mapping[str, Span]) -> dict[str, dict[str, int]]:
    """Return the longest gaps in each span."""
    topics = here.settings.topic_names
    results = _stamps(here, topics.results, lambda _: 0)
    tasks = _stamps(here, topics.tasks(POOL, Lane.BATCH), _home)
    return {
        name: {
            "no_result_ms": longest_gap(results, span),
            "no_dispatch_of_a_partition_ms": longest_gap(tasks, span),
        }
        for name, span in spans.items()
    }


def _stamps(here: Deployment, topic: str, place: Callable[[Any], int]) -> Stamps:
    found: dict[int, list[int]] = defaultdict(list)
    for message in messages(here, topic):
        found[place(message)].append(message.timestamp()[1])
    return {partition: sorted(stamps) for partition, stamps in found.items()}


def _home(message: Any) -> int:
    return int(dict(message.headers())["x-reply-partition"])


def longest_gap(stamps: Stamps, span: Span) -> int:
    """Return the longest time between two neighbouring records of one partition that reaches into a span, in ms."""
    begin, end = span
    pairs = (pair for row in stamps.values() for pair in pairwise(row))
    gaps = [after - before for before, after in pairs if after > begin and before < end]
    return max(gaps, default=round(end - begin))


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def report(courses: Sequence[Course]) -> Report:
    """Return medians and spread over the deployments; a speed-up is of one deployment's own figures."""
    figures: dict[str, dict[str, float | int | str]] = {}
    for replicas in REPLICAS:
        ideal = replicas * CONCURRENCY * 1_000 / LATENCY_MS
        rates = [course.tasks_per_s[replicas] for course in courses]
        figures[f"replicas_{replicas}"] = {"ideal_tasks_per_s": ideal, **spread(rates, "tasks_per_s")}
    for span, names in courses[0].gaps.items():
        found: dict[str, float | int | str] = {}
        for name in names:
            found |= spread([course.gaps[span][name] for course in courses], name, digits=0)
        figures[span] = found
    one = REPLICAS[0]
    return Report(
        figures,
        {
            f"speedup_{replicas}": round(
                statistics.median(course.tasks_per_s[replicas] / course.tasks_per_s[one] for course in courses), 2
            )
            for replicas in REPLICAS[1:]
        },
    )

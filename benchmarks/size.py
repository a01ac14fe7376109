"""One job of a thousand, ten thousand, a hundred thousand tasks, and of a million: what each task of it costs.

Items come by reference, since a million of them are no message. Whether a task costs the same in any job is asked of
about as many tasks of each size: twenty jobs of a thousand, submitted together, beside three of ten thousand and one of
a hundred thousand. (A small job alone waits for its own submission, its last result and its outcome: ``alone_us``.)
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.deployment import Deployment, deployment
from benchmarks.finished import finished_items
from benchmarks.memory import forget_peak, peak_mb, resident_mb
from benchmarks.payload import PAYLOAD
from benchmarks.report import Report, spread
from benchmarks.restore import restored
from benchmarks.state_log import StateLog, StateTopic
from headrace.console.client import HeadraceClient
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import ItemsRef, JobStatus

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
TOGETHER = {1_000: 20, 10_000: 3}
"""How many jobs of a size are submitted together; one where nothing is said."""
STEP = {"for_each": "{{ input.items }}", "max_in_flight": 2_048, "llm": {"pool": "noop", "prompt": "{{ item.text }}"}}
WORKFLOW = {"name": "size", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}
"""The pool echoes, so each output has as many bytes as the prompt, and lies in memory until the job ends."""
LIVE = 50_000
"""Tasks that are out at once where the window is measured."""
WIDE_STEP = {"for_each": "{{ input.items }}", "max_in_flight": LIVE, "llm": {"pool": "tiny", "prompt": "{{ item }}"}}
WIDE = {"name": "wide", "version": 1, "steps": {"work": WIDE_STEP}}
"""On a pool where nobody works."""
EXTRA = {
    "HEADRACE_ORCHESTRATOR__POOL_WINDOW": "1000000",
    "HEADRACE_OBJECTS__CACHE_BYTES": "16777216",  # Parts of the items, and full soon: no item is looked at for it.
}
FROM = 0.3
"""Share of a job from which on its orchestrator's memory is looked at, to see what finished items take."""
ORCHESTRATOR = "orchestrator-0"
WAIT_S = 3_600.0


def run(quick: bool) -> Report:
    """Jobs of up to a hundred thousand tasks; with ``quick``, memory and restore of up to ten thousand."""
    return measure(SIZES, SIZES[:2] if quick else SIZES, rounds=1 if quick else 3)


def run_million(quick: bool) -> Report:
    """A job of a million beside one of a hundred thousand, whose cost `run` compares with that of smaller ones."""
    del quick
    return measure((SIZES[-1], MILLION), (MILLION,), rounds=1)


def measure(sizes: Sequence[int], watched_sizes: Sequence[int], *, rounds: int) -> Report:
    """Measure memory and restore in one deployment, and what a task costs in another whose log is kept whole."""
    with deployment(workers={"noop": 1}, extra=EXTRA) as here, HeadraceClient(here.settings) as client:
        jobs = Jobs(here, client)
        memory = {size: memory_of(jobs, size) for size in watched_sizes}
        half_way = restore(jobs, watched_sizes[-1])
    with deployment(workers={"noop": 1}, extra=EXTRA) as here, HeadraceClient(here.settings) as client:
        jobs = Jobs(here, client)
        jobs.state.keep_all()
        live = window(jobs)
        work(jobs, Case(SIZES[0]), "warm-small", read=False)
        work(jobs, Case(SIZES[1]), "warm", read=False)
        cases = [Case(size) for size in sizes]
        for number in range(rounds):
            for case in cases if number % 2 else reversed(cases):
                work(jobs, case, f"round-{number}-{case.size}", read=number == 0)
    return Report(
        {
            **{f"tasks_{case.size}": {**case.figures(), **memory.get(case.size, {})} for case in cases},
            "window": live,
            "finished": finished_items(),
            "restore_half_way": half_way,
        },
        {
            "flat_us": flat([case.wall_us for case in cases]),
            "flat_cpu_us": flat([case.cpu_us for case in cases]),
            "flat_state_bytes": flat([[case.log.bytes / case.tasks] for case in cases]),
        },
    )


def flat(by_size: Sequence[Sequence[float]]) -> float:
    """Return largest ÷ smallest over the sizes, the median of the rounds."""
    ratios: list[float] = [max(found) / min(found) for found in zip(*by_size, strict=True)]
    return round(statistics.median(ratios), 3)


class Jobs:
    """Runs jobs of a size."""

    def __init__(self, here: Deployment, client: HeadraceClient) -> None:
        self.here, self.client, self.state = here, client, StateTopic(here.settings)
        self._items: dict[int, ItemsRef] = {}
        self.orchestrator = ORCHESTRATOR
        self.run(SIZES[0], "warm")

    def items(self, size: int) -> ItemsRef:
        """Return so many items, uploaded once."""
        if size not in self._items:
            self._items[size] = self.client.upload_items(lines(size))
        return self._items[size]

    def submit(self, size: int, job_id: str) -> None:
        """Submit a job."""
        self.client.submit(WORKFLOW, items=self.items(size), job_id=job_id)

    def check(self, size: int, job_id: str) -> None:
        """Wait for a job, which must have all its outputs."""
        outcome = self.client.outcome(job_id, timeout_s=WAIT_S)
        assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, size), outcome

    def run(self, size: int, job_id: str) -> None:
        """Run a job to its end."""
        self.submit(size, job_id)
        self.check(size, job_id)

    def home(self, job_id: str) -> int:
        """Return a job's home partition."""
        return home_partition(job_id, self.here.settings.topics.partitions)

    @property
    def pid(self) -> int:
        """The orchestrator's process."""
        return self.here.pid(self.orchestrator)

    def dispatched(self) -> float:
        """Return how many tasks the orchestrator has dispatched."""
        return self.here.metric(self.orchestrator, "headrace_tasks_dispatched_total")

    def wait(self, tasks: float) -> None:
        """Wait until so many are dispatched."""
        deadline = time.monotonic() + WAIT_S
        while self.dispatched() < tasks:
            assert time.monotonic() < deadline, "the tasks were not dispatched"
            time.sleep(0.05)


# ── What a task costs ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Case:
    """Jobs of one size."""

    size: int
    alone_us: list[float] = field(default_factory=list)
    """One job at a time: microseconds a task, one figure a round."""
    wall_us: list[float] = field(default_factory=list)
    """Jobs together."""
    cpu_us: list[float] = field(default_factory=list)
    """The orchestrator's, jobs together."""
    log: StateLog = field(default_factory=StateLog)
    """Of the first round's jobs together."""

    @property
    def jobs(self) -> int:
        """How many jobs are submitted together."""
        return TOGETHER.get(self.size, 1)

    @property
    def tasks(self) -> int:
        """How many tasks they have."""
        return self.size * self.jobs

    def figures(self) -> dict[str, float | int]:
        """Return what was found."""
        return {
            "jobs": self.jobs,
            **spread(self.wall_us, "us_per_task"),
            **spread(self.cpu_us, "orchestrator_cpu_us_per_task"),
            "alone_us_per_task": round(statistics.median(self.alone_us), 1),
            **self.log.figures(self.tasks),
        }


def work(jobs: Jobs, case: Case, name: str, *, read: bool) -> None:
    """Run a round of a case.

    Args:
        read: whether to read what it wrote to ``state``.
    """
    here, size = jobs.here, case.size
    names = [f"{name}-{number}" for number in range(case.jobs)]
    jobs.items(size)
    starts = jobs.state.ends(dict.fromkeys(jobs.home(each) for each in names))
    cpu, began = here.cpu_seconds(jobs.orchestrator), time.perf_counter()
    for each in names:
        jobs.submit(size, each)
    for each in names:
        jobs.check(size, each)
    case.wall_us.append((time.perf_counter() - began) / case.tasks * 1e6)
    jobs.state.settled(starts)  # Their records are tombstoned: a cost of the jobs, too.
    case.cpu_us.append((here.cpu_seconds(jobs.orchestrator) - cpu) / case.tasks * 1e6)
    if read:
        case.log = jobs.state.read(starts)
    if case.jobs == 1:
        case.alone_us.append(case.wall_us[-1])
        return
    began = time.perf_counter()
    jobs.run(size, f"{name}-alone")
    case.alone_us.append((time.perf_counter() - began) / size * 1e6)


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def window(jobs: Jobs) -> dict[str, float]:
    """Have tasks lie on their topic, and look at what each takes in memory and on ``state``."""
    idle, home, before = resident_mb(jobs.pid), jobs.home("window"), jobs.dispatched()
    starts = jobs.state.ends([home])
    jobs.client.submit(WIDE, {"items": list(range(LIVE))}, job_id="window")
    jobs.wait(before + LIVE)
    jobs.state.settled([home])
    taken, log = resident_mb(jobs.pid) - idle, jobs.state.read(starts)
    jobs.client.cancel("window")
    jobs.client.outcome("window", timeout_s=60)
    jobs.state.settled([home])
    return {
        "tasks": LIVE,
        "memory_bytes_per_task": round(taken * 2**20 / LIVE, 1),
        "live_state_bytes_per_task": round(statistics.mean(log.live), 1),
    }


def memory_of(jobs: Jobs, size: int) -> dict[str, float]:
    """Run one job, larger than all before it, and watch the orchestrator's memory."""
    jobs.items(size)
    idle = resident_mb(jobs.pid)
    forget_peak(jobs.pid)
    with watched(jobs) as seen:
        jobs.run(size, f"memory-{size}")
    peak = peak_mb(jobs.pid)
    found = {"idle_mb": idle, "peak_mb": peak, "peak_kb_per_task": round((peak - idle) * 1_024 / size, 3)}
    if size >= MILLION:  # Below that it is lost in what batches take, and tasks of which the groups were not asked yet.
        output = statistics.mean(len(text(number)) for number in range(size))
        grown = [sample for sample in seen if sample[0] > FROM * size]
        finished = statistics.linear_regression(*zip(*grown, strict=True)).slope * 2**20
        found |= {"output_bytes": round(output, 1), "finished_bytes_beside_output": round(finished - output, 1)}
    return found


@contextmanager
def watched(jobs: Jobs) -> Iterator[list[tuple[float, float]]]:
    """Note how many tasks are dispatched, and what the orchestrator has resident, in megabytes."""
    seen: list[tuple[float, float]] = []
    ended, start, pid = threading.Event(), jobs.dispatched(), jobs.pid

    def watch() -> None:
        while not ended.wait(0.2):
            seen.append((jobs.dispatched() - start, resident_mb(pid)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(5)


def restore(jobs: Jobs, size: int) -> dict[str, Any]:
    """Kill the orchestrator half-way through a job; its successor restores it, and the job ends as it should."""
    before = jobs.dispatched()
    jobs.submit(size, "half-way")
    jobs.wait(before + size // 2)
    os.kill(jobs.pid, signal.SIGKILL)
    jobs.orchestrator = "successor"
    jobs.here.start("successor", ["headrace.orchestrator", "--slot", ORCHESTRATOR], jobs.here.environment, 0)
    found = restored(jobs.here, "successor")
    peak = peak_mb(jobs.pid)
    jobs.check(size, "half-way")
    return {"job_tasks": size, **found, "peak_mb": peak}


def text(number: int) -> str:
    """Return an item's text, each another."""
    return f"{number}:{PAYLOAD}"


def lines(count: int) -> Iterator[dict[str, Any]]:
    """Yield items."""
    return ({"n": number, "text": text(number)} for number in range(count))

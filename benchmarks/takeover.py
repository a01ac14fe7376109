"""How long work stands still after a kill: jobs acknowledged around it, until the last of them has its outcome."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.clusters import Cluster
from benchmarks.deployment import Deployment, deployment
from benchmarks.load import Arrivals, Load, read
from benchmarks.report import Report
from headrace.console.client import HeadraceClient
from headrace.runtime.brokers import local_runtime, survey
from headrace.runtime.local_kafka import LocalKafka, LocalKafkaOptions
from headrace.schemas.messages import Lane

SESSION_S = 6.0
BROKER_SESSION_S = 3.0
EVERY_S = 0.02
AROUND_S = 0.5
"""Jobs that Kafka acknowledged so long before and after a kill are those that it can hold up."""
TIMERS = 48
DUE_S = 4.0
PATIENCE_S = 240.0
"""Longer than the rule of lost tasks takes: what it had to find is a figure too, and a bad one."""
SCRIPT = {"latency": {"ms": 200}}

Figures = dict[str, Any]


def run(quick: bool) -> Report:
    """Kill each kind of process, several times, on three brokers."""
    return Report(measure(quick, "classic"))


def run_consumer(quick: bool) -> Report:
    """Do the same with the groups' newer protocol (KIP-848)."""
    return Report(measure(quick, "consumer"))


def measure(quick: bool, protocol: str) -> dict[str, Figures]:
    """Return the figures by what was killed."""
    times = 2 if quick else 5
    with tempfile.TemporaryDirectory(prefix="headrace-takeover-") as name:
        options = LocalKafkaOptions(Path(name) / "kafka", nodes=3)
        with LocalKafka(options, local_runtime(survey())) as kafka:
            cluster = Cluster(kafka)
            orchestrators = _orchestrators(kafka.bootstrap_servers, protocol, times)
            return {
                **orchestrators,
                "worker_killed": _workers(kafka.bootstrap_servers, protocol, times),
                "broker_killed": _brokers(cluster, protocol, times),
            }


@contextmanager
def _loaded(servers: str, protocol: str, *, pool: str) -> Iterator[tuple[Deployment, Load, Arrivals]]:
    workers = {pool: 2}
    with (
        deployment(
            workers=workers,
            orchestrators=0,
            provider=pool == "http",
            script=SCRIPT if pool == "http" else None,
            servers=servers,
            kafka={"group_protocol": protocol},
        ) as here,
        Load(here, EVERY_S, pool=pool) as load,
        Arrivals(here) as arrivals,
    ):
        yield here, load, arrivals


def _orchestrators(servers: str, protocol: str, times: int) -> dict[str, Figures]:
    with _loaded(servers, protocol, pool="noop") as (here, load, arrivals):
        crew = _Crew(here, arrivals)
        cases: dict[str, Figures] = {}
        bar = SESSION_S + 3.0
        cases["orchestrator_killed"] = _figures(
            [crew.stalled(load, lambda: crew.end(signal.SIGKILL)) for _ in range(times)], bar
        )
        cases["orchestrator_killed_in_a_transaction"] = _figures(
            [crew.stalled(load, lambda: crew.end(signal.SIGUSR1)) for _ in range(times)], bar
        )
        zombies = [crew.zombie(load) for _ in range(times)]
        cases["orchestrator_paused_in_a_transaction"] = _figures(zombies, bar)
        load.stop()
        arrivals.wait_for(set(load.acknowledged), PATIENCE_S)
        cases["timers_only"] = _figures([crew.timers(number) for number in range(times)], bar)
        cases["all_of_the_above"] = {"jobs": len(load.acknowledged), "jobs_lost": 0, **_doubled(here, load)}
        return cases


class _Crew:
    """Two orchestrators, the older of which is the next to go."""

    def __init__(self, here: Deployment, arrivals: Arrivals) -> None:
        self._here = here
        self._arrivals = arrivals
        self._living: list[str] = []
        self._count = 0
        self._fill()

    def _fill(self) -> None:
        while len(self._living) < 2:
            name = f"orchestrator-{self._count}"
            self._count += 1
            self._here.start(name, ["benchmarks.dying_orchestrator", "--slot", name], self._here.environment, 0)
            self._living.append(name)
        time.sleep(3.0)  # Both have their partitions, and work goes its even way.

    def end(self, number: signal.Signals) -> float:
        """Send a signal to the older one; return when it took effect."""
        pid = self._here.pid(self._living.pop(0))
        os.kill(pid, number)
        while _state(pid) not in "ZXT":
            time.sleep(0.001)
        return time.monotonic()

    def stalled(self, load: Load, act: Callable[[], float]) -> float:
        """Return for how long an act holds jobs up; the crew is full again afterwards."""
        seconds = stalled_s(load, self._arrivals, act)
        self._fill()
        return seconds

    def zombie(self, load: Load) -> float:
        """Stop one in its transaction, wake it when it is succeeded, and let it be."""
        name = self._living[0]
        pid = self._here.pid(name)
        seconds = stalled_s(load, self._arrivals, lambda: self.end(signal.SIGUSR2))
        os.kill(pid, signal.SIGCONT)
        time.sleep(3.0)
        os.kill(pid, signal.SIGKILL)
        time.sleep(SESSION_S + 2.0)
        self._fill()
        return seconds

    def timers(self, number: int) -> float:
        """Kill one while nothing is there but timers; return when the last of them had fired, after the kill."""
        due = datetime.now(UTC) + timedelta(seconds=DUE_S)
        step = {"llm": {"pool": "tiny", "prompt": "nobody works here"}}
        jobs = [f"timer-{number}-{index}" for index in range(TIMERS)]
        with HeadraceClient(self._here.settings) as client:
            for job in jobs:
                client.submit({"name": "late", "version": 1, "steps": {"a": step}}, {}, job_id=job, deadline=due)
        time.sleep(2.0)
        killed = self.end(signal.SIGKILL)
        self._arrivals.wait_for(set(jobs), PATIENCE_S)
        self._fill()
        return max(self._arrivals.at[job] for job in jobs) - killed


def _workers(servers: str, protocol: str, times: int) -> Figures:
    with _loaded(servers, protocol, pool="http") as (here, load, arrivals):
        here.start("orchestrator-0", ["headrace.orchestrator", "--slot", "orchestrator-0"], here.environment, 0)
        time.sleep(5.0)
        living = ["worker-http-0", "worker-http-1"]
        seconds = []
        for number in range(times):
            victim = living.pop(0)
            seconds.append(stalled_s(load, arrivals, lambda victim=victim: _kill(here.pid(victim))))  # type: ignore[misc]
            living.append(name := f"worker-http-{number + 2}")
            here.start(name, ["headrace.workers", "http"], here.environment, 0)
            time.sleep(3.0)
        load.stop()
        arrivals.wait_for(set(load.acknowledged), PATIENCE_S)
        return {**_figures(seconds, SESSION_S + 3.0), "jobs": len(load.acknowledged), **_doubled(here, load)}


def _brokers(cluster: Cluster, protocol: str, times: int) -> Figures:
    with _loaded(cluster.kafka.bootstrap_servers, protocol, pool="noop") as (here, load, arrivals):
        here.start("orchestrator-0", ["headrace.orchestrator", "--slot", "orchestrator-0"], here.environment, 0)
        time.sleep(5.0)
        seconds = []
        for number in range(max(times, 3)):
            node = number % 3 + 1
            seconds.append(stalled_s(load, arrivals, lambda node=node: _kill(cluster.pid(node))))  # type: ignore[misc]
            cluster.heal()
            time.sleep(3.0)
        load.stop()
        arrivals.wait_for(set(load.acknowledged), PATIENCE_S)
        return {**_figures(seconds, BROKER_SESSION_S + 10.0), "jobs": len(load.acknowledged), **_doubled(here, load)}


def stalled_s(load: Load, arrivals: Arrivals, act: Callable[[], float]) -> float:
    """Return the seconds from an act to the last outcome of the jobs that were acknowledged around it.

    Where Kafka itself stood still, nothing is acknowledged around it: then the first jobs that are count.
    """
    at = act()
    deadline = at + PATIENCE_S
    while not (after := {job for job, t in dict(load.acknowledged).items() if t > at + AROUND_S}):
        assert time.monotonic() < deadline, "Kafka takes no jobs any more"
        time.sleep(0.05)
    around = {job for job, t in dict(load.acknowledged).items() if abs(t - at) <= AROUND_S}
    first = min(after, key=load.acknowledged.__getitem__)
    arrivals.wait_for(around | {first}, PATIENCE_S)
    return max(arrivals.at[job] for job in around | {first}) - at


def _kill(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _figures(seconds: list[float], bar_s: float) -> Figures:
    print([round(each, 1) for each in seconds], file=sys.stderr, flush=True)
    return {
        "times": len(seconds),
        "bar_s": bar_s,
        "median_s": round(statistics.median(seconds), 1),
        "max_s": round(max(seconds), 1),
    }


def _doubled(here: Deployment, load: Load) -> Figures:
    """Count what a zombie's commit would have doubled: outcomes of a job, tasks with one id and attempt."""
    outcomes = load.outcomes()
    tasks: Counter[tuple[str, bytes]] = Counter()
    for pool in ("noop", "http"):
        for message in read(here, here.settings.topic_names.tasks(pool, Lane.BATCH)):
            headers = dict(message.headers() or [])
            tasks[message.key().decode(), headers["x-attempt"]] += 1
    return {
        "outcomes_doubled": sum(count > 1 for count in outcomes.values()),
        "zombie_commits_accepted": sum(count > 1 for count in tasks.values()),
    }

"""The ceiling: the same messages through bare confluent-kafka loops, in as many processes as Headrace has."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from benchmarks.broker_counts import BrokerCounts, Tally
from benchmarks.deployment import Deployment, deployment
from benchmarks.raw_loops import HOME, JOB, POOL, task_bytes
from benchmarks.report import Report, spread
from headrace.runtime.kafka import admin_client, producer_config, reader_config
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, ProcessStatus
from headrace.runtime.topic_plan import ensure_topics

RUN_S = 300.0
TASKS, WINDOW = 10_000, 2_048


class RawLoops:
    """Bare loops on topics of their own, beside a deployment on the same broker.

    Args:
        here: the deployment whose broker is used.
        minimal: whether state and attempts are left out.
    """

    def __init__(self, here: Deployment, *, minimal: bool = False) -> None:
        self._here = here
        self._flags = ["--minimal"] if minimal else []
        prefix = f"raw-{uuid.uuid4().hex[:6]}"
        self.settings: Settings = here.settings.model_copy(
            update={"topics": here.settings.topics.model_copy(update={"prefix": prefix})}
        )
        self._env = {**here.environment, "HEADRACE_TOPICS__PREFIX": prefix}
        ensure_topics(admin_client(self.settings), self.settings, [POOL])
        self._start("worker")

    def _start(self, role: str) -> ProcessStatus:
        command = [sys.executable, "-m", "benchmarks.raw_loops", role, *self._flags]
        return self._here.supervisor.start(ProcessSpec(f"{self.settings.topics.prefix}-{role}", command, env=self._env))

    def fan_out(self, tasks: int = TASKS, window: int = WINDOW) -> dict[str, float]:
        """Fan out and gather once; return ``tasks_per_s``, ``transactions_per_s`` and ``transaction_ms``."""
        command = [sys.executable, "-m", "benchmarks.raw_loops", "orchestrator", *self._flags]
        command += ["--tasks", str(tasks), "--window", str(window)]
        done = subprocess.run(
            command, env={**os.environ, **self._env}, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert done.returncode == 0, done.stderr
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    @contextmanager
    def ping_pong(self) -> Iterator[PingPong]:
        """Start what passes a job on as a task and its result as an outcome; yield the client."""
        relay = self._start("relay")
        client = PingPong(self.settings)
        try:
            yield client
        finally:
            client.close()
            self._here.supervisor.stop(relay.name)
        client.transactions = json.loads(relay.log.read_text().splitlines()[-1])


class PingPong:
    """A client of the four hops: job, task, result, outcome."""

    def __init__(self, settings: Settings) -> None:
        names = settings.topic_names
        self._seconds = 0.0
        self.transactions: dict[str, float] = {}
        """Of the relay, once it has ended: how many, and their durations."""
        self._jobs, self._value = names.jobs, task_bytes().task
        self._producer: Any = Producer({**producer_config(settings, "raw"), "linger.ms": 0})
        self._consumer = Consumer({**reader_config(settings, "raw"), "enable.partition.eof": False})
        self._consumer.assign([TopicPartition(names.outcomes, HOME, OFFSET_END)])
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and self._consumer.position(self._consumer.assignment())[0].offset < 0:
            self._consumer.poll(0.1)

    def once(self, timeout_s: float = 30.0) -> float:
        """Send one job round; return the seconds until its outcome can be read."""
        began = time.perf_counter()
        self._producer.produce(self._jobs, self._value, JOB.encode(), HOME)
        self._producer.poll(0)
        while (message := self._consumer.poll(0.5)) is None or message.error() is not None:
            assert time.perf_counter() - began < timeout_s, "no outcome came"
        seconds = time.perf_counter() - began
        self._seconds += seconds
        return seconds

    def figures(self) -> dict[str, float]:
        """Return what is known of the relay's transactions, once it has ended."""
        known = self.transactions
        rate = {"transactions_per_s": round(known["transactions"] / self._seconds, 1)}
        return {**rate, **{name: known[name] for name in ("transaction_ms", "transaction_mean_ms")}}

    def many(self, jobs: int, timeout_s: float = 60.0) -> float:
        """Send jobs round, all at once; return the seconds until every outcome is read."""
        began, read = time.perf_counter(), 0
        for _ in range(jobs):
            self._producer.produce(self._jobs, self._value, JOB.encode(), HOME)
            self._producer.poll(0)
        while read < jobs:
            assert time.perf_counter() - began < timeout_s, f"{read} of {jobs} outcomes came"
            read += sum(message.error() is None for message in self._consumer.consume(1_000, 0.05))
        seconds = time.perf_counter() - began
        self._seconds += seconds
        return seconds

    def close(self) -> None:
        """Close both clients."""
        self._producer.close()
        self._consumer.close()


def run(quick: bool) -> Report:
    """Fan out over the bare loops alone: with all that Headrace writes, and with three hops only."""
    tasks, runs = (TASKS, 3) if quick else (TASKS, 5)
    with deployment(workers={}, orchestrators=0) as here, BrokerCounts(here.broker_pid) as broker:
        loops = {name: RawLoops(here, minimal=minimal) for name, minimal in CASES}
        return Report({name: measure(each, Tally(broker), tasks, runs) for name, each in loops.items()})


CASES = (("raw", False), ("raw_min", True))


def measure(loops: RawLoops, tally: Tally, tasks: int, runs: int) -> dict[str, float | int | str]:
    """Warm up, then run several times."""
    loops.fan_out(min(tasks, 2_000))
    with tally.counting():
        found = [loops.fan_out(tasks) for _ in range(runs)]
    return {"tasks": tasks, **raw_figures(found), **tally.figures()}


def raw_figures(found: list[dict[str, float]]) -> dict[str, float | int | str]:
    """Return median and spread of several runs, and the medians of what is known of their transactions."""
    names = ("transactions_per_s", "transaction_ms", "transaction_mean_ms")
    transactions = {name: round(statistics.median(run[name] for run in found), 2) for name in names}
    return {**spread([run["tasks_per_s"] for run in found], "tasks_per_s"), **transactions}

"""Many jobs of one task, submitted as fast as a producer can: jobs a second until the last outcome is read.

Beside it the four hops that each job takes at least, through bare loops on the same broker: job, task, result, outcome,
with transactions and without anything that a job needs to survive (state, events, the worker's journal).
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from benchmarks.broker_counts import BrokerCounts, Tally
from benchmarks.deployment import Deployment, deployment
from benchmarks.raw import RawLoops
from benchmarks.report import Report, paired, spread
from benchmarks.transactions import TransactionTally
from headrace.runtime.kafka import producer_config, reader_config
from headrace.schemas.ids import home_partition

WORKFLOW = {"name": "one", "version": 1, "steps": {"answer": {"llm": {"pool": "noop", "prompt": "{{ input.word }}"}}}}
WARM = 500
WAIT_S = 120.0
PROCESSES = {"orchestrator": "orchestrator-0", "worker": "worker-noop-0"}


def run(quick: bool) -> Report:
    """Run rounds of both by turns; a ratio is of the two in one round."""
    jobs, rounds = (2_000, 3) if quick else (10_000, 5)
    with deployment(workers={"noop": 1}) as here, BrokerCounts(here.broker_pid) as broker:
        ours, loops, refused = Jobs(here, broker), RawLoops(here, minimal=True), Tally(broker)
        with loops.ping_pong() as ball:
            for _ in range(2):
                ours.run(WARM)
                ball.many(WARM)
            ours.forget()
            bare: list[float] = []
            for _ in range(rounds):
                ours.run(jobs)
                with refused.counting():
                    bare.append(jobs / ball.many(jobs))
        ours.close()
    return Report(
        {
            "headrace": ours.figures(),
            "raw": {"jobs": jobs, **spread(bare, "jobs_per_s"), **ball.figures(), **refused.figures()},
        },
        {"raw": paired(ours.rates, bare)},
    )


class Jobs:
    """Submits jobs and reads their outcomes."""

    def __init__(self, here: Deployment, broker: BrokerCounts) -> None:
        self._here, self._broker = here, broker
        settings = here.settings
        self._names, self._partitions = settings.topic_names, settings.topics.partitions
        self._producer: Any = Producer({**producer_config(settings, "jobs"), "queue.buffering.max.messages": 1_000_000})
        self._consumer = Consumer({**reader_config(settings, "jobs"), "enable.partition.eof": False})
        places = [TopicPartition(self._names.outcomes, p, OFFSET_END) for p in range(self._partitions)]
        self._consumer.assign(places)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and any(p.offset < 0 for p in self._consumer.position(places)):
            self._consumer.poll(0.1)
        self.forget()

    def forget(self) -> None:
        """Leave out what was measured so far."""
        self.rates: list[float] = []
        self._jobs = 0
        self._spent: dict[str, float] = {}
        self._transactions = TransactionTally(self._here, self._broker)

    def run(self, jobs: int) -> None:
        """Run jobs, all at once."""
        before = self._used()
        with self._transactions.counting():
            began = time.perf_counter()
            self._submit_and_read(jobs, uuid.uuid4().hex[:8])
            self.rates.append(jobs / (time.perf_counter() - began))
        time.sleep(0.5)  # What is left to be tombstoned is a cost of the jobs.
        self._jobs += jobs
        for process, now in self._used().items():
            self._spent[process] = self._spent.get(process, 0.0) + now - before[process]

    def _submit_and_read(self, jobs: int, name: str) -> None:
        for number in range(jobs):
            job_id = f"{name}-{number}"
            value = json.dumps({"job_id": job_id, "workflow": WORKFLOW, "input": {"word": job_id}})
            home = home_partition(job_id, self._partitions)
            self._producer.produce(self._names.jobs, value, job_id, home)
            self._producer.poll(0)
        self._read(jobs, name)

    def _read(self, jobs: int, name: str) -> None:
        """Read one outcome of each job."""
        found: set[str] = set()
        deadline = time.monotonic() + WAIT_S
        while len(found) < jobs:
            assert time.monotonic() < deadline, f"{len(found)} of {jobs} outcomes came"
            for message in self._consumer.consume(1_000, 0.05):
                job_id = (message.key() or b"").decode()
                if message.error() is None and job_id.startswith(name):
                    assert b'"status":"succeeded"' in (message.value() or b""), message.value()
                    found.add(job_id)

    def figures(self) -> dict[str, float | int | str]:
        """Return the figures of the rounds so far."""
        spent = self._spent
        return {
            "jobs": self._jobs // len(self.rates),
            **spread(self.rates, "jobs_per_s"),
            **{f"{name}_cpu_us_per_job": round(spent[name] / self._jobs * 1e6, 1) for name in PROCESSES},
            "jobs_per_transaction": round(self._jobs / max(self._transactions.count, 1), 1),
            **self._transactions.figures(),
        }

    def _used(self) -> dict[str, float]:
        return {name: self._here.cpu_seconds(process) for name, process in PROCESSES.items()}

    def close(self) -> None:
        """Close both clients."""
        self._producer.close()
        self._consumer.close()

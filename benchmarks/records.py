"""How many records of ``state`` one transaction writes, for a small job and for a large one."""

from __future__ import annotations

import statistics
import time

from confluent_kafka import Consumer, TopicPartition

from benchmarks.deployment import Deployment, deployment
from benchmarks.report import Report
from headrace.console.client import HeadraceClient
from headrace.runtime.kafka import reader_config
from headrace.runtime.settings import Settings
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import JobStatus

SIZES = (10, 10_000)
STEP = {"for_each": "{{ input.items }}", "llm": {"pool": "noop", "prompt": "{{ item }}"}}
WORKFLOW = {"name": "fan", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}


def run(quick: bool) -> Report:
    """Run a job of each size. Ten thousand tasks are the point, so ``quick`` changes nothing."""
    del quick
    with deployment(workers={"noop": 1}) as here:
        return Report({f"tasks_{tasks}": measure(here, tasks) for tasks in SIZES})


def measure(here: Deployment, tasks: int) -> dict[str, float]:
    """Run one job and count what each of its transactions wrote."""
    job_id = f"sized-{tasks}"
    with HeadraceClient(here.settings) as client:
        client.submit(WORKFLOW, {"items": list(range(tasks))}, job_id=job_id)
        outcome = client.outcome(job_id, timeout_s=90)
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, tasks), outcome
    time.sleep(1.0)  # What a transaction leaves open at the outcome is written by then.
    sizes = transaction_sizes(here.settings, job_id)
    return {
        "transactions": len(sizes),
        "state_records_max": max(sizes),
        "state_records_mean": round(statistics.mean(sizes), 1),
        "batch_records": here.settings.orchestrator.batch_records,
    }


def transaction_sizes(settings: Settings, job_id: str) -> list[int]:
    """Return the sizes of the transactions on a job's partition of ``state``: markers between them take offsets."""
    topic, home = settings.topic_names.state, home_partition(job_id, settings.topics.partitions)
    consumer = Consumer(reader_config(settings, "benchmark"))
    try:
        consumer.assign([TopicPartition(topic, home, 0)])
        offsets, ended, deadline = [], False, time.monotonic() + 20
        while not ended and time.monotonic() < deadline:
            for message in consumer.consume(2_000, 0.2):
                if message.error() is None:
                    offsets.append(message.offset() or 0)
                else:
                    ended = True
        assert ended, f"the end of {topic} was not reached"
    finally:
        consumer.close()
    sizes: list[int] = []
    for before, offset in zip([-2, *offsets], offsets, strict=False):
        if offset == before + 1:
            sizes[-1] += 1
        else:
            sizes.append(1)
    return sizes

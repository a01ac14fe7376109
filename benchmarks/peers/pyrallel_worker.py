"""Pyrallel Consumer on a filled topic; each message is read as JSON and slept over. Prints a line of JSON.

The settings are those of its own benchmark (``benchmarks/pyrallel_consumer_test.py``): async engine, earliest offset,
a session of 6 s, a task timeout of 10 s, no metrics. Run by an interpreter that has pyrallel-consumer; it imports
nothing of Headrace.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import ExecutionMode, OrderingMode


def config(given: argparse.Namespace) -> Any:
    """Return its configuration."""
    found = KafkaConfig(
        BOOTSTRAP_SERVERS=given.bootstrap,
        CONSUMER_GROUP=given.group,
        AUTO_OFFSET_RESET="earliest",
        SESSION_TIMEOUT_MS=6_000,
    )
    found.parallel_consumer.ordering_mode = OrderingMode(given.order)
    found.parallel_consumer.execution.mode = ExecutionMode.ASYNC
    found.parallel_consumer.execution.max_in_flight = given.in_flight
    found.parallel_consumer.execution.async_config.task_timeout_ms = 10_000
    return found


async def measure(given: argparse.Namespace) -> float:
    """Work the topic off; return calls a second after the warm-up."""
    ends: list[float] = []
    finished = asyncio.Event()

    async def worker(item: Any) -> None:
        json.loads(item.payload)
        await asyncio.sleep(given.latency_ms / 1_000)
        ends.append(time.perf_counter())
        if len(ends) == given.total:
            finished.set()

    consumer = PyrallelConsumer(config=config(given), worker=worker, topic=given.topic)
    await consumer.start()
    try:
        await asyncio.wait_for(finished.wait(), timeout=240)
    finally:
        await consumer.stop()
    seconds = ends[given.total - 1] - ends[given.warm - 1]
    return float((given.total - given.warm) / seconds)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "topic", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--order", choices=["key_hash", "unordered"], required=True)
    for name in ("in-flight", "latency-ms", "warm", "total"):
        parser.add_argument(f"--{name}", type=int, required=True)
    print(json.dumps({"calls_per_s": round(asyncio.run(measure(parser.parse_args())), 1)}))


if __name__ == "__main__":
    main()

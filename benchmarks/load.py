"""A load of small jobs, every one of which must have exactly one outcome, and when each outcome came."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.deployment import Deployment
from headrace.runtime.kafka import producer_config, reader_config
from headrace.schemas.ids import home_partition


def workflow(pool: str) -> dict[str, Any]:
    """Return a workflow of one task."""
    return {"name": "one", "version": 1, "steps": {"say": {"llm": {"pool": pool, "prompt": "{{ input.n }}"}}}}


class Load:
    """Submits a job every so often from a thread, and knows what Kafka acknowledged.

    Args:
        here: the deployment.
        every_s: seconds between jobs.
        pool: the pool of each job's one task.
        name: what ids begin with.
    """

    def __init__(self, here: Deployment, every_s: float = 0.05, *, pool: str = "noop", name: str = "job") -> None:
        self._here = here
        self._every_s = every_s
        self._workflow = workflow(pool)
        self._name = name
        self._topics = here.settings.topic_names
        self._stopped = threading.Event()
        self.acknowledged: dict[str, float] = {}
        """By job, when Kafka acknowledged it."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Submit no more; return when all is acknowledged."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        config = {**producer_config(self._here.settings, "load"), "message.timeout.ms": 300_000}
        producer, number = Producer(config), 0
        while not self._stopped.wait(self._every_s):
            self._submit(producer, f"{self._name}-{number}", {"workflow": self._workflow, "input": {"n": number}})
            number += 1
        assert producer.flush(120) == 0

    def _submit(self, producer: Any, job_id: str, fields: Mapping[str, object]) -> None:
        value = json.dumps({"job_id": job_id, **fields}).encode()
        home = home_partition(job_id, self._here.settings.topics.partitions)
        producer.produce(self._topics.jobs, value, job_id, home, on_delivery=self._delivered)
        producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged[message.key().decode()] = time.monotonic()

    def outcomes(self) -> Counter[str]:
        """Return how many outcomes there are by job, different ``ce_id`` counted apart and repetitions once."""
        seen: set[tuple[str, str]] = set()
        for message in read(self._here, self._topics.outcomes):
            headers = dict(message.headers() or [])
            seen.add((message.key().decode(), headers["ce_id"].decode()))
        return Counter(job for job, _ in seen)

    def wait_for_all(self, timeout_s: float = 60.0) -> None:
        """Wait until every job that Kafka acknowledged has its one outcome."""
        deadline = time.monotonic() + timeout_s
        while missing := set(self.acknowledged) - set(found := self.outcomes()):
            assert time.monotonic() < deadline, f"{len(missing)} of {len(self.acknowledged)} jobs have no outcome"
            time.sleep(0.5)
        assert set(found.values()) == {1}, [job for job, count in found.items() if count > 1]


class Arrivals:
    """Follows ``outcomes`` in a thread: when each job's outcome could be read, and how many there are of each."""

    def __init__(self, here: Deployment) -> None:
        self._topic = here.settings.topic_names.outcomes
        self._consumer = Consumer({**reader_config(here.settings, "arrivals"), "enable.partition.eof": False})
        self._stopped = threading.Event()
        self.at: dict[str, float] = {}
        self.count: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Arrivals:
        partitions = self._consumer.list_topics(self._topic, timeout=10).topics[self._topic].partitions
        self._consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in partitions])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for message in self._consumer.consume(1_000, 0.02):
                if message.error() is None:
                    job = (message.key() or b"").decode()
                    self.count[job] += 1
                    self.at.setdefault(job, time.monotonic())

    def wait_for(self, jobs: set[str], timeout_s: float) -> None:
        """Wait until each of the jobs has an outcome."""
        deadline = time.monotonic() + timeout_s
        while missing := jobs - self.at.keys():
            assert time.monotonic() < deadline, (
                f"no outcome of {len(missing)} of {len(jobs)} jobs: {sorted(missing)[:5]}"
            )
            time.sleep(0.05)


def read(here: Deployment, topic: str) -> list[Any]:
    """Return everything committed on a topic, up to its end now."""
    return list(messages(here, topic))


def messages(here: Deployment, topic: str) -> Iterator[Any]:
    """Yield everything committed on a topic, up to its end now; in order within each partition."""
    consumer = Consumer(reader_config(here.settings, "load-reader"))
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        ended: set[int] = set()
        deadline = time.monotonic() + 60
        while len(ended) < len(partitions) and time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.2):
                if message.error() is None:
                    yield message
                else:
                    ended.add(message.partition() or 0)
    finally:
        consumer.close()

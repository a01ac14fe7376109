"""Three brokers that can be hurt, and a load whose every job must have exactly one outcome."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.deployment import Deployment
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.runtime.kafka import producer_config, reader_config
from headrace.runtime.local_kafka import LocalKafka
from headrace.schemas.ids import home_partition

WORKFLOW = {"name": "one", "version": 1, "steps": {"say": {"llm": {"pool": "noop", "prompt": "{{ input.n }}"}}}}


class Cluster:
    """A local cluster, hurt node by node. Nodes are counted from 1."""

    def __init__(self, kafka: LocalKafka) -> None:
        self.kafka = kafka
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})

    def pid(self, node: int) -> int:
        return self.kafka.pids[node - 1]

    def kill(self, node: int) -> None:
        os.kill(self.pid(node), signal.SIGKILL)

    def pause(self, *nodes: int) -> None:
        for node in nodes:
            os.kill(self.pid(node), signal.SIGSTOP)

    def resume(self, *nodes: int) -> None:
        for node in nodes:
            os.kill(self.pid(node), signal.SIGCONT)

    def fill(self, node: int) -> None:
        """Let every write of a node's logs fail, as on a full disk: no file of this process may grow any more."""
        resource.prlimit(self.pid(node), resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    @contextmanager
    def slow(self, *nodes: int, stopped_s: float = 0.3, running_s: float = 0.05) -> Iterator[None]:
        """Let nodes run for a small part of the time only."""
        ended = threading.Event()

        def slow_down() -> None:
            while not ended.is_set():
                self.pause(*nodes)
                ended.wait(stopped_s)
                self.resume(*nodes)
                ended.wait(running_s)

        thread = threading.Thread(target=slow_down, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def leader(self, topic: str, partition: int) -> int:
        return int(self._admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def heal(self) -> None:
        """Start again what has ended and wait until every replica is in sync."""
        for node, pid in enumerate(self.kafka.pids, 1):
            os.kill(pid, signal.SIGCONT)
            if not Path(f"/proc/{pid}").exists() or _ended(pid):
                self.kafka.wait(node)
                self.kafka.restart(node)
        deadline = time.monotonic() + 60
        while not self._in_sync():
            assert time.monotonic() < deadline, "the replicas did not come in sync"
            time.sleep(0.2)

    def _in_sync(self) -> bool:
        topics = self._admin.list_topics(timeout=10).topics.values()
        parts = [part for topic in topics for part in topic.partitions.values()]
        return all(part.leader >= 0 and len(part.isrs) == len(part.replicas) for part in parts)


def _ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


class Load:
    """Submits a job every so often from a thread, and knows what Kafka acknowledged."""

    def __init__(self, here: Deployment, every_s: float = 0.05) -> None:
        self._here = here
        self._every_s = every_s
        self._topics = here.settings.topic_names
        self._stopped = threading.Event()
        self.acknowledged: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        config = {**producer_config(self._here.settings, "test"), "message.timeout.ms": 300_000}
        producer, number, partitions = Producer(config), 0, self._here.settings.topics.partitions
        while not self._stopped.wait(self._every_s):
            job_id = f"job-{number}"
            value = json.dumps({"job_id": job_id, "workflow": WORKFLOW, "input": {"n": number}}).encode()
            producer.produce(
                self._topics.jobs, value, job_id, home_partition(job_id, partitions), on_delivery=self._delivered
            )
            producer.poll(0)
            number += 1
        assert producer.flush(120) == 0

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged[message.key().decode()] = time.monotonic()

    def outcomes(self) -> Counter[str]:
        """Return how many outcomes there are by job, different ``ce_id`` counted apart and repetitions once."""
        seen: set[tuple[str, str]] = set()
        for message in _read(self._here, self._topics.outcomes):
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


def _read(here: Deployment, topic: str) -> list[Any]:
    consumer = Consumer(reader_config(here.settings, "test"))
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        ended: set[int] = set()
        found: list[Any] = []
        deadline = time.monotonic() + 30
        while len(ended) < len(partitions) and time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.2):
                if message.error() is None:
                    found.append(message)
                else:
                    ended.add(message.partition() or 0)
        return found
    finally:
        consumer.close()


class Watched:
    """What one of our processes does during an outage: its readiness, its CPU, its log lines."""

    def __init__(self, here: Deployment, name: str) -> None:
        self._here = here
        self.name = name
        self._log = Path(next(status.log for status in here.supervisor.status() if status.name == name))
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._at, self._cpu, self._lines = time.monotonic(), self._here.cpu_seconds(self.name), self._line_count()
        self._pid = self._here.pid(self.name)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a page of the admin port."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._here.admin_ports[self.name]}{path}", timeout=5
            ) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def troubles(self) -> dict[str, float]:
        """Return the seconds of trouble by kind, zeros left out."""
        found = re.findall(r'^headrace_trouble_seconds\{kind="(\w+)"\} ([\d.e+-]+)$', self.get("/metrics")[1], re.M)
        return {kind: float(seconds) for kind, seconds in found if float(seconds) > 0}

    @property
    def cpu_share(self) -> float:
        return (self._here.cpu_seconds(self.name) - self._cpu) / (time.monotonic() - self._at)

    @property
    def lines(self) -> int:
        return self._line_count() - self._lines

    @property
    def same_process(self) -> bool:
        return self._here.pid(self.name) == self._pid

    def log(self) -> str:
        return self._log.read_text()

    def _line_count(self) -> int:
        return self.log().count("\n")

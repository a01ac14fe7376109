"""Orchestrators under test: real processes on the run's broker, a trivial worker, and readers that commit nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from headrace.runtime.kafka import admin_client, producer_config, reader_config
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.topic_plan import ensure_topics
from headrace.schemas.codec import decode, encode
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Lane, Result, Task, Usage

POOLS = """
endpoints: {here: {adapter: noop, public: false}}
pools: {noop: {endpoint: here, concurrency: 64}}
"""
ONE = """
name: one
version: 1
steps:
  say: {llm: {pool: noop, prompt: "hello {{ input.who }}"}}
output: "{{ say }}"
"""
FAN = """
name: fan
version: 1
steps:
  notes: {for_each: "{{ input['items'] }}", llm: {pool: noop, prompt: "note {{ item }}"}}
output: "{{ notes | length }}"
"""
RETRY = """
name: retry
version: 1
steps:
  say: {llm: {pool: noop, prompt: "hello {{ input.who }}"}, retry: {attempts: 5, backoff_ms: 500}}
output: "{{ say }}"
"""


@dataclass
class Site:
    """A prefix of its own on the run's broker, with files for pools and workflows."""

    settings: Settings
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    """Further environment of the processes."""
    _producer: Producer | None = None

    @property
    def environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **os.environ,
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "HEADRACE_TOPICS__PREFIX": settings.topics.prefix,
            "HEADRACE_TOPICS__PARTITIONS": str(settings.topics.partitions),
            "HEADRACE_TOPICS__TASK_PARTITIONS": str(settings.topics.task_partitions),
            "HEADRACE_POOLS_FILE": str(self.folder / "pools.yaml"),
            "HEADRACE_DATA_DIR": str(self.folder / "data"),
            "PYTHONUNBUFFERED": "1",
            **self.extra,
        }

    def start(self, slot: str, *, script: str | None = None) -> subprocess.Popen[bytes]:
        """Start an orchestrator; ``script`` is Python that runs first, to break something on purpose."""
        arguments = ["--slot", slot, "--workflows", str(self.folder / "workflows")]
        run = "import sys; from headrace.orchestrator.__main__ import main; sys.exit(main(sys.argv[1:]))"
        with (self.folder / f"{slot}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{script or ''}\n{run}", *arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log(self, slot: str) -> str:
        return (self.folder / f"{slot}.log").read_text()

    def wait_for_log(self, slot: str, event: str, *, times: int = 1, timeout_s: float = 30.0) -> None:
        wait_until(lambda: self.log(slot).count(event) >= times, f"{event} of {slot}", timeout_s)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        if self._producer is not None:
            self._producer.close()

    # ── Records ──────────────────────────────────────────────────────────────────────────────────────────────────

    def produce(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        topic: str | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        flush: bool = True,
    ) -> tuple[int, int]:
        """Write to ``jobs`` as a client would; return where it landed (nowhere yet without ``flush``)."""
        landed: list[Message] = []
        self._producer = self._producer or Producer({**producer_config(self.settings, "test"), "linger.ms": 0})
        self._producer.produce(
            topic or self.settings.topic_names.jobs,
            value,
            key,
            partition,
            on_delivery=lambda error, message: landed.append(message),
            headers=[*headers] if headers else None,
        )
        if not flush:
            return -1, -1
        self._producer.flush(10)
        return landed[0].partition(), landed[0].offset()  # type: ignore[return-value]

    def submit(self, job_id: str, workflow: str | dict[str, Any] = "one", **fields: Any) -> None:
        value = {"job_id": job_id, "workflow": workflow, "input": {"who": "you"}, **fields}
        partition = home_partition(job_id, self.settings.topics.partitions)
        self.produce(json.dumps(value).encode(), key=job_id.encode(), partition=partition)

    def result(self, result: Result, partition: int) -> None:
        self.produce(
            encode(result), key=result.job_id.encode(), partition=partition, topic=self.settings.topic_names.results
        )

    def read(self, topic: str, *, committed: bool = True) -> list[Message]:
        """Return everything on a topic, up to its end now."""
        consumer = Consumer(reader_config(self.settings, "test", committed=committed))
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        ended: set[int] = set()
        found: list[Message] = []
        deadline = time.monotonic() + 15
        while len(ended) < len(partitions) and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                ended.add(message.partition() or 0)
            else:
                found.append(message)
        consumer.close()
        return found

    def outcomes(self, job_id: str) -> list[dict[str, Any]]:
        key = job_id.encode()
        return [json.loads(m.value() or b"") for m in self.read(self.settings.topic_names.outcomes) if m.key() == key]

    def wait_for_outcome(self, job_id: str, timeout_s: float = 30.0) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.outcomes(job_id)
            return bool(found)

        wait_until(there, f"an outcome of {job_id}", timeout_s)
        return found[0]

    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(m.value() or b"") for m in self.read(self.settings.topic_names.dead_letters)]

    def tasks(self) -> list[Task]:
        found = []
        for lane in Lane:
            for message in self.read(self.settings.topic_names.tasks("noop", lane)):
                found.append(decode(Task, message.value()))
        return found

    def answer(self, task: Task, *, copies: int = 1) -> None:
        for _ in range(copies):
            self.result(answer_to(task), task.reply_partition)


def answer_to(task: Task) -> Result:
    """Return what the trivial worker answers."""
    assert task.call is not None
    return Result(
        task_id=task.task_id,
        job_id=task.job_id,
        attempt=task.attempt,
        output=task.call.messages[-1].content,
        usage=Usage(input_tokens=1, output_tokens=1),
        pool="noop",
    )


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"no {what} within {timeout_s:g} s"
        time.sleep(0.05)


@contextmanager
def site(bootstrap_servers: str, prefix: str, folder: Path, *, partitions: int = 3) -> Iterator[Site]:
    """Make topics and files; everything started is ended at the end."""
    (folder / "workflows").mkdir()
    (folder / "pools.yaml").write_text(POOLS)
    for name, text in (("one", ONE), ("fan", FAN), ("retry", RETRY)):
        (folder / "workflows" / f"{name}.yaml").write_text(text)
    settings = load_settings(
        kafka={"bootstrap_servers": bootstrap_servers},
        topics={"prefix": prefix, "partitions": partitions, "task_partitions": partitions},
        pools_file=folder / "pools.yaml",
        data_dir=folder / "data",
    )
    admin = admin_client(settings)
    ensure_topics(admin, settings, ["noop"])
    made = Site(settings, folder)
    try:
        yield made
    finally:
        made.stop()
        admin.delete_topics([spec.name for spec in settings.topic_names.catalogue(["noop"])])

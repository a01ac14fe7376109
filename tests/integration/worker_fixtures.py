"""A pool on a real broker: topics, tasks in, worker processes, results and offsets out. Used by test_worker.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from headrace.schemas.codec import decode, encode, header_map, schema_headers
from headrace.schemas.messages import Attempt, ChatMessage, DeadLetter, Lane, LlmCall, Result, Task
from headrace.schemas.topics import Topics

PARTITIONS = 4


def task(number: int, *, job: str = "j-1", pool: str = "small", lane: Lane = Lane.BATCH, **fields: Any) -> Task:
    call = fields.pop("call", LlmCall(messages=(ChatMessage(role="user", content=f"task {number}"),)))
    return Task(
        task_id=f"{job}/notes/{number}",
        job_id=job,
        step="notes",
        attempt=fields.pop("attempt", 1),
        pool=pool,
        lane=lane,
        reply_partition=fields.pop("reply_partition", number % PARTITIONS),
        timeout_ms=fields.pop("timeout_ms", 20_000),
        call=call,
        **fields,
    )


def headers_of(one: Task) -> list[tuple[str, bytes]]:
    return [
        *schema_headers(Task),
        ("x-job-id", one.job_id.encode()),
        ("x-task-id", one.task_id.encode()),
        ("x-attempt", b"%d" % one.attempt),
        ("x-reply-partition", b"%d" % one.reply_partition),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]


@dataclass
class World:
    """One pool `small` under a prefix of its own."""

    servers: str
    prefix: str
    folder: Path
    partitions: int = PARTITIONS
    pool: str = "small"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics = Topics(self.prefix)
        self.admin = AdminClient({"bootstrap.servers": self.servers})
        wanted = [
            NewTopic(spec.name, spec.partitions, 1, config=spec.config)
            for spec in self.topics.catalogue([self.pool], partitions=PARTITIONS, task_partitions=self.partitions)
        ]
        for made in self.admin.create_topics(wanted).values():
            made.result(20)

    # Work in

    def produce(self, tasks: list[Task], *, batches: int = 0) -> None:
        """Write tasks, plain or in so many committed transactions with an aborted one after each."""
        config = {"bootstrap.servers": self.servers, "linger.ms": 5}
        if batches:
            config["transactional.id"] = f"{self.prefix}.test"
        producer = Producer(config)
        if not batches:
            self._write(producer, tasks)
            producer.flush(30)
            return
        producer.init_transactions(20)
        size = -(-len(tasks) // batches)
        for start in range(0, len(tasks), size):
            producer.begin_transaction()
            self._write(producer, tasks[start : start + size])
            producer.commit_transaction(20)
            producer.begin_transaction()
            ghost = tasks[start].model_copy(update={"task_id": "j-1/ghost/0"})
            for partition in range(self.partitions):
                producer.produce(self.topics.tasks(self.pool, ghost.lane), encode(ghost), partition=partition)
            producer.flush(20)
            producer.abort_transaction(20)

    def _write(self, producer: Producer, tasks: list[Task]) -> None:
        for one in tasks:
            topic = self.topics.tasks(self.pool, one.lane)
            producer.produce(topic, encode(one), one.task_id.encode(), headers=[*headers_of(one)])
            producer.poll(0)

    def write_raw(self, topic: str, value: bytes | None, **fields: Any) -> None:
        producer = Producer({"bootstrap.servers": self.servers})
        producer.produce(topic, value, **fields)
        assert producer.flush(20) == 0

    # Workers

    def pools_file(self, *, base_url: str = "", concurrency: int = 8) -> Path:
        adapter = "openai" if base_url else "noop"
        content = {
            "endpoints": {"here": {"adapter": adapter, "base_url": base_url}},
            "pools": {
                self.pool: {
                    "endpoint": "here",
                    "model": "m",
                    "concurrency": concurrency,
                    "price": {"input": 1_000_000, "output": 2_000_000},
                }
            },
        }
        path = self.folder / "pools.yaml"
        path.write_text(json.dumps(content))
        return path

    def worker(self, pools: Path, **env: str) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        with (self.folder / f"worker-{number}.log").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "headrace.workers", self.pool],
                env={
                    **os.environ,
                    "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": self.servers,
                    "HEADRACE_TOPICS__PREFIX": self.prefix,
                    "HEADRACE_POOLS_FILE": str(pools),
                    "HEADRACE_DATA_DIR": str(self.folder),
                    **env,
                },
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def log_of(self, number: int) -> str:
        return (self.folder / f"worker-{number}.log").read_text()

    def events(self, number: int, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [line for line in self.log_of(number).splitlines() if line.startswith("{")]
        return [found for line in lines if (found := json.loads(line))["event"] == name]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    # What came out

    def read(self, topic: str, enough: Any, *, timeout_s: float = 60.0) -> list[Any]:
        """Read a topic from its beginning until `enough(messages)`; fails with what there was when time is over."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "enable.auto.commit": False})
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        consumer.assign([TopicPartition(topic, number, 0) for number in found.partitions])
        messages: list[Any] = []
        deadline = time.monotonic() + timeout_s
        try:
            while not enough(messages):
                assert time.monotonic() < deadline, f"{topic}: only {len(messages)} records; {self.logs_tail()}"
                messages += [one for one in consumer.consume(1_000, 0.1) if one.error() is None]
        finally:
            consumer.close()
        return messages

    def results(self, count: int, *, timeout_s: float = 60.0, of: list[Any] | None = None) -> dict[str, list[Result]]:
        """Return results by task id once so many tasks have one, or those of given messages."""
        by_task: dict[str, list[Result]] = {}

        def enough(messages: list[Any]) -> bool:
            by_task.clear()
            for message in messages:
                one = decode(Result, message.value(), header_map(message.headers()))
                by_task.setdefault(one.task_id, []).append(one)
            return len(by_task) >= count

        if of is None:
            self.read(self.topics.results, enough, timeout_s=timeout_s)
        else:
            enough(of)
        return by_task

    def play_orchestrator(self, tasks: list[Task], *, timeout_s: float = 90.0) -> dict[str, list[Result]]:
        """Answer each ``interrupted`` with the next attempt, until every task has an answer; return all results."""
        open_tasks = {one.task_id: one for one in tasks}
        dispatched = dict.fromkeys(open_tasks, 1)
        deadline = time.monotonic() + timeout_s
        while True:
            by_task = self.results(0, of=self.everything(self.topics.results))
            again = []
            for task_id, found in by_task.items():
                if any(one.failure is None for one in found):
                    open_tasks.pop(task_id, None)
                elif max(one.attempt for one in found) == dispatched[task_id]:
                    dispatched[task_id] += 1
                    again.append(open_tasks[task_id].model_copy(update={"attempt": dispatched[task_id]}))
            self.produce(again)
            if not open_tasks:
                return by_task
            assert time.monotonic() < deadline, f"unanswered: {len(open_tasks)}; {self.logs_tail()}"
            time.sleep(0.2)

    def everything(self, topic: str) -> list[Any]:
        """Return all that a topic without transactions holds now."""
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        count = len(self.admin.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = self.admin.list_offsets({TopicPartition(topic, number): latest for number in range(count)})
        total = sum(end.result(10).offset for end in ends.values())
        return self.read(topic, lambda found: len(found) >= total)

    def journal(self) -> list[tuple[Any, Attempt]]:
        """Return the journal's records and what they say."""
        found = self.everything(self.topics.attempts(self.pool))
        return [(one, decode(Attempt, one.value(), header_map(one.headers()))) for one in found]

    def journal_phases(self) -> Counter[str]:
        return Counter(note.phase for _, note in self.journal())

    def dead_letters(self, count: int) -> list[DeadLetter]:
        messages = self.read(self.topics.dead_letters, lambda found: len(found) >= count)
        return [decode(DeadLetter, one.value(), header_map(one.headers())) for one in messages]

    def offsets(self, lane: Lane = Lane.BATCH) -> dict[int, tuple[int, int, str]]:
        """Return by partition: committed offset (-1001: none), end of the log, metadata."""
        topic = self.topics.tasks(self.pool, lane)
        parts = [TopicPartition(topic, number) for number in range(self.partitions)]
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        ends = self.admin.list_offsets(dict.fromkeys(parts, latest))
        asked = ConsumerGroupTopicPartitions(self.topics.worker_group(self.pool), parts)
        (answer,) = self.admin.list_consumer_group_offsets([asked]).values()
        found = {part.partition: part for part in answer.result(10).topic_partitions}
        return {
            part.partition: (found[part.partition].offset, end.result(10).offset, found[part.partition].metadata or "")
            for part, end in ends.items()
        }

    def wait_for_no_lag(self, lane: Lane = Lane.BATCH, *, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while behind := {part: at for part, at in self.offsets(lane).items() if at[0] != at[1] and at[1]}:
            assert time.monotonic() < deadline, f"lag stays: {behind}; {self.logs_tail()}"
            time.sleep(0.1)

    def logs_tail(self) -> str:
        return "\n".join(self.log_of(number)[-1_500:] for number in range(len(self.processes)))


@contextmanager
def provider(folder: Path, script: str = "{}") -> Iterator[str]:
    """The scripted provider in a process of its own; yields its base URL."""
    path = folder / "script.yaml"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.workers.adapters.faulty", "--script", str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


def ask(base_url: str, path: str) -> Any:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + path, timeout=10) as answer:
        return json.loads(answer.read())


def wait_until(check: Any, what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def counts(by_task: dict[str, list[Result]]) -> Counter[int]:
    return Counter(map(len, by_task.values()))

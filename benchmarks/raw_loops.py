"""The ceiling: bare confluent-kafka loops that write what Headrace writes, with no logic in between.

``python -m benchmarks.raw_loops orchestrator|relay|worker``: the roles as processes; `benchmarks.raw` starts them.
Clients have the configuration of Headrace's own. Keys, values and headers have the bytes of its records, made before
the clock runs; only the key's number changes. Per task: task, result, attempt, two state records; per transaction a
header and cursors. With ``--minimal`` the state and the attempts are left out: what any fan-out over Kafka writes.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.payload import PAYLOAD
from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import Cursor, TaskRecord, TaskStatus
from headrace.runtime.kafka import group_config, producer_config, transactional_config
from headrace.runtime.settings import Settings, load_settings
from headrace.schemas.codec import Headers, encode, schema_headers
from headrace.schemas.messages import Attempt, ChatMessage, Lane, LlmCall, Result, Task, Usage

JOB = "00000000-0000-4000-8000-000000000000"
POOL = "noop"
HOME = 0
COMMIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Bytes:
    """What one task's records hold; the same for every task."""

    task: bytes
    task_headers: Headers
    result: bytes
    result_headers: Headers
    attempt: bytes
    attempt_headers: Headers
    live: bytes
    done: bytes
    header: bytes
    cursor: bytes


def task_bytes() -> Bytes:
    """Return the records of a task as Headrace writes them for the benchmark `fanout`."""
    text, task_id = f"1234:{PAYLOAD}", f"{JOB}/work/1234"
    call = LlmCall(messages=(ChatMessage(role="user", content=text),))
    now_ms = int(time.time() * 1_000)
    task = Task(
        task_id=task_id, job_id=JOB, step="work", attempt=1, pool=POOL, lane=Lane.BATCH, reply_partition=HOME,
        workflow="fanout@1", template_hash="0" * 16, timeout_ms=600_000, not_after_ms=now_ms, dispatched_at_ms=now_ms,
        call=call,
    )  # fmt: skip
    usage = Usage(input_tokens=77, output_tokens=77)
    result = Result(
        task_id=task_id, job_id=JOB, attempt=1, output=text, finish_reason="stop", usage=usage, model="noop",
        endpoint="here", pool=POOL, worker="noop-benchmark-host-12345",
    )  # fmt: skip
    attempt = Attempt(
        task_id=task_id, attempt=1, phase="ended", at_ms=now_ms, worker=result.worker, job_id=JOB, workflow="fanout@1",
        template_hash="0" * 16, result=result,
    )  # fmt: skip
    ids: Headers = [("x-job-id", JOB.encode()), ("x-task-id", task_id.encode()), ("x-attempt", b"1")]
    return Bytes(
        task=encode(task),
        task_headers=[*schema_headers(Task), *ids, ("x-reply-partition", b"0")],
        result=encode(result),
        result_headers=[*schema_headers(Result), *ids],
        attempt=encode(attempt),
        attempt_headers=schema_headers(Attempt),
        live=encode_record(TaskRecord(TaskStatus.LIVE, 1, now_ms)),
        done=encode_record(TaskRecord(TaskStatus.DONE, 1, now_ms, output=text)),
        header=b"x" * 900,
        cursor=encode_record(Cursor(1_234_567)),
    )


def orchestrate(settings: Settings, tasks: int, window: int, *, minimal: bool) -> dict[str, float]:
    """Keep `window` tasks out until all are answered, a transaction for each batch of results; return the figures."""
    names, data = settings.topic_names, task_bytes()
    consumer = Consumer(group_config(settings, "raw", names.orchestrator_group, instance=None, assignor="range"))
    assigned: list[int] = []
    consumer.subscribe([names.results], on_assign=lambda _, parts: assigned.extend(part.partition for part in parts))
    while not assigned:
        consumer.poll(0.1)
    producer = Producer(transactional_config(settings, names.transactional_id("raw")))
    producer.init_transactions(30)
    loop = _Orchestrator(settings, data, consumer, producer, minimal=minimal)
    began = time.perf_counter()
    loop.write(0, dispatch=min(window, tasks))
    sent, done = min(window, tasks), 0
    while done < tasks:
        count = loop.read(settings.orchestrator.batch_records)
        if not count:
            continue
        more = min(count, tasks - sent)
        loop.write(count, dispatch=more)
        sent, done = sent + more, done + count
    seconds = time.perf_counter() - began
    consumer.close()
    return {"tasks_per_s": round(tasks / seconds, 1), **durations(loop.durations, seconds)}


def durations(transactions: list[float], seconds: float) -> dict[str, float]:
    """Return how many transactions of these durations there were a second, their median and mean."""
    return {
        "transactions_per_s": round(len(transactions) / seconds, 1),
        "transaction_ms": round(statistics.median(transactions) * 1e3, 2),
        "transaction_mean_ms": round(statistics.mean(transactions) * 1e3, 2),
    }


class _Orchestrator:
    def __init__(self, settings: Settings, data: Bytes, consumer: Any, producer: Any, *, minimal: bool) -> None:
        names = settings.topic_names
        self._tasks, self._state, self._results = names.tasks(POOL, Lane.BATCH), names.state, names.results
        self._minimal = minimal
        self._data, self._consumer, self._producer = data, consumer, producer
        self._sent = self._done = 0
        self._next: dict[tuple[str, int], int] = {(self._results, HOME): 0}
        self.durations: list[float] = []

    def read(self, at_most: int) -> int:
        first = self._consumer.poll(0.2)
        if first is None:
            return 0
        count = 0
        for message in [first, *self._consumer.consume(at_most - 1, 0)]:
            if message.error() is None:
                self._next[message.topic(), message.partition()] = message.offset() + 1
                message.value()
                count += 1
        return count

    def write(self, done: int, *, dispatch: int) -> None:
        began = time.perf_counter()
        produce, data = self._producer.produce, self._data
        self._producer.begin_transaction()
        for _ in range(0 if self._minimal else done):
            produce(self._state, data.done, f"task/{JOB}/work/{self._done}".encode(), HOME, _delivered)
            self._done += 1
        for _ in range(dispatch):
            key = f"{JOB}/work/{self._sent}".encode()
            produce(self._tasks, data.task, key, -1, _delivered, headers=data.task_headers)
            if not self._minimal:
                produce(self._state, data.live, b"task/" + key, HOME, _delivered)
            self._sent += 1
        if not self._minimal:
            produce(self._state, data.header, f"job/{JOB}".encode(), HOME, _delivered)
            produce(self._state, data.cursor, b"cursor/results", HOME, _delivered)
        self._producer.flush(15)
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._next.items()]
        self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), 15)
        self._producer.commit_transaction(15)
        self.durations.append(time.perf_counter() - began)


def relay(settings: Settings) -> None:
    """Pass jobs on as tasks and results as outcomes, a transaction for each batch; at SIGTERM, say what they took."""
    names, data = settings.topic_names, task_bytes()
    consumer: Any = Consumer(group_config(settings, "raw", names.orchestrator_group, instance=None, assignor="range"))
    consumer.subscribe([names.jobs, names.results])
    producer: Any = Producer(transactional_config(settings, names.transactional_id("raw")))
    producer.init_transactions(30)
    tasks = names.tasks(POOL, Lane.BATCH)
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    took: list[float] = []
    while not ended:
        first = consumer.poll(0.2)
        if first is None or first.error() is not None:
            continue
        began = time.perf_counter()
        following: dict[tuple[str, int], int] = {}
        producer.begin_transaction()
        for message in [first, *consumer.consume(1_000, 0)]:
            following[message.topic(), message.partition()] = message.offset() + 1
            if message.topic() == names.jobs:
                producer.produce(tasks, data.task, message.key(), -1, _delivered, headers=data.task_headers)
            else:
                producer.produce(names.outcomes, message.value(), message.key(), HOME, _delivered)
        producer.flush(15)
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in following.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 15)
        producer.commit_transaction(15)
        took.append(time.perf_counter() - began)
    consumer.close()
    print(json.dumps({"transactions": len(took), **durations(took, 1.0)}), flush=True)


def work(settings: Settings, *, minimal: bool) -> None:
    """Answer tasks until the process is ended: result and journal for each, the offset once both are acknowledged."""
    names, data = settings.topic_names, task_bytes()
    topic, journal = names.tasks(POOL, Lane.BATCH), None if minimal else names.attempts(POOL)
    config = group_config(settings, "raw", names.worker_group(POOL), instance=None, assignor="cooperative-sticky")
    consumer = Consumer({**config, "queued.min.messages": 1_000, "queued.max.messages.kbytes": 4_096})
    consumer.subscribe([topic])
    producer = Producer({**producer_config(settings, "raw"), "linger.ms": 1, "queue.buffering.max.messages": 1_000_000})
    left: dict[tuple[int, int], int] = {}
    done: dict[int, int] = {}

    def acknowledged(place: tuple[int, int]) -> Callable[[Any, Any], None]:
        def count(_error: Any, _message: Any) -> None:
            left[place] -= 1
            if not left[place]:
                del left[place]
                done[place[0]] = max(done.get(place[0], 0), place[1] + 1)

        return count

    commit_at = 0.0
    while True:
        first = consumer.poll(0.05 if not left else 0.0)
        producer.poll(0)
        if first is not None:
            for message in [first, *consumer.consume(4_000, 0)]:
                _answer(message, producer, data, names.results, journal, left, acknowledged)
        if time.monotonic() >= commit_at and done:
            commit_at = time.monotonic() + COMMIT_S
            offsets = [TopicPartition(topic, partition, offset) for partition, offset in done.items()]
            done.clear()
            consumer.commit(offsets=offsets, asynchronous=True)


def _answer(  # noqa: PLR0917
    message: Message,
    producer: Any,
    data: Bytes,
    results: str,
    journal: str | None,
    left: dict[tuple[int, int], int],
    acknowledged: Callable[[tuple[int, int]], Callable[[Any, Any], None]],
) -> None:
    if message.error() is not None:
        return
    message.value()
    partition, offset = message.partition() or 0, message.offset() or 0
    place = (partition, offset)
    left[place] = 1 if journal is None else 2
    report = acknowledged(place)
    if journal is not None:
        producer.produce(journal, data.attempt, message.key(), partition, report, headers=data.attempt_headers)
    producer.produce(results, data.result, JOB.encode(), HOME, report, headers=data.result_headers)


def _delivered(error: Any, _message: Any) -> None:
    assert error is None, error


def main() -> int:
    """Run one role."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.raw_loops", description=__doc__)
    parser.add_argument("role", choices=["orchestrator", "relay", "worker"])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=2_048)
    parser.add_argument("--minimal", action="store_true", help="without state records and attempts")
    given = parser.parse_args()
    settings = load_settings()
    if given.role == "worker":
        work(settings, minimal=given.minimal)
    if given.role == "relay":
        relay(settings)
        return 0
    print(json.dumps(orchestrate(settings, given.tasks, given.window, minimal=given.minimal)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

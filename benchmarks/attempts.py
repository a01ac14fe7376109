"""The worker's own work, without a broker: where the microseconds of a task go on a pool whose calls take no time.

The real poller, pool and sender answer tasks that are there at once; what would be Kafka's client is lists, and all
runs in one thread. So the figures are CPU time alone; what the client and changes of thread cost is not among them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any
from unittest.mock import patch

from benchmarks.fakes import Message, Waiting
from benchmarks.payload import PAYLOAD
from headrace.runtime.health import Heartbeats
from headrace.runtime.telemetry import new_traceparent
from headrace.schemas.codec import TRACE_HEADERS, encode, schema_headers
from headrace.schemas.messages import ChatMessage, Lane, LlmCall, Task
from headrace.schemas.pools import Endpoint, Pool
from headrace.schemas.topics import Topics
from headrace.workers.adapters.base import AdapterConfig, open_adapter
from headrace.workers.settings import IMMEDIATE_CAPACITY
from headrace.workers.shell import poller as poller_module
from headrace.workers.shell import sender as sender_module
from headrace.workers.shell.answers import Answers
from headrace.workers.shell.attempt import AttemptRunner
from headrace.workers.shell.delivery import Assignment, Delivery
from headrace.workers.shell.poller import LanePoller
from headrace.workers.shell.pool import WorkPool
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.sender import ResultSender
from headrace.workers.shell.workplace import Workplace

JOB = "00000000-0000-4000-8000-000000000000"
POOL = "noop"
PARTITIONS = 4
RESULTS = 4
WAVE = 512
"""Tasks that a poller finds at once."""
WORKER = "noop-benchmark-host-12345"
TOPICS = Topics("headrace")


def answer(tasks: int) -> dict[str, float]:
    """Answer so many tasks; return the CPU seconds of each part, and of all."""
    return asyncio.run(_answer(tasks))


async def _answer(tasks: int) -> dict[str, float]:
    with ExitStack() as stack:
        stack.enter_context(patch.object(poller_module, "Consumer", _Consumer))
        stack.enter_context(patch.object(sender_module, "Producer", _Producer))
        here = _Alone()
        stack.callback(here.close)
        return await here.answer(_messages(tasks))


class _Alone:
    """A worker between two lists."""

    def __init__(self) -> None:
        beats = Heartbeats()
        pool = Pool(endpoint="here", model="noop", concurrency=512)
        adapter = open_adapter(AdapterConfig("here", Endpoint(adapter="noop", public=False)))
        place = Workplace(
            pool_name=POOL, pool=pool, worker=WORKER, is_cancelled=set[str]().__contains__,
            objects=_no_objects, inline_bytes=262_144,
        )  # fmt: skip
        runner = AttemptRunner(adapter, place)
        self._sender = ResultSender({}, pool=POOL, on_failure=_fail, heartbeats=beats)
        self._producer: Any = self._sender._producer
        answers = Answers(self._sender, pool=POOL, worker=WORKER, topics=TOPICS, result_partitions=RESULTS)
        report = AttemptReport(POOL, "here", quiet=True)
        self._pool = WorkPool(runner, answers, report, name=POOL, concurrency=512, batch_every=8)
        self._handed_over: list[list[Delivery]] = []
        openings: Any = ()
        self._poller = LanePoller(
            {}, openings, topic=TOPICS.tasks(POOL, Lane.BATCH), pool=POOL, lane=Lane.BATCH,
            capacity=IMMEDIATE_CAPACITY, commit_interval_ms=100, revoke_wait_s=1, gap_ms=60_000,
            hand_over=self._handed_over.append, release=_fail, on_failure=_fail, heartbeats=beats,
        )  # fmt: skip
        self._consumer: Any = self._poller._consumer
        parts = self._poller.partitions
        for number in range(PARTITIONS):
            epoch = parts.tracker.assign(number, committed=0, journal_next=0)
            parts.assignments[number] = Assignment(number, epoch, self._poller._lease)
        self._spent: dict[str, float] = {}

    def close(self) -> None:
        self._producer.stop.set()
        self._sender.close(1.0)

    async def answer(self, messages: list[Message]) -> dict[str, float]:
        for start in range(0, len(messages), WAVE):
            self._consumer.waiting = wave = messages[start : start + WAVE]
            expected = self._sender._unsettled + len(wave)
            with self._timed("poll"):
                self._poller._round(self._consumer)
            with self._timed("answer"):
                while self._handed_over:
                    self._pool.offer(self._handed_over.pop())
                while self._sender._unsettled < expected:  # noqa: ASYNC110  Counted by threads that know no event.
                    await asyncio.sleep(0)
            with self._timed("send"):
                while self._sender.outstanding:
                    self._producer.acknowledge()
        return {**self._spent, "all": sum(self._spent.values())}

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self._spent[phase] = self._spent.get(phase, 0.0) + time.process_time() - began


def _messages(tasks: int) -> list[Message]:
    """Return tasks as the orchestrator writes them (`decisions` fans out the same)."""
    topic, trace = TOPICS.tasks(POOL, Lane.BATCH), (TRACE_HEADERS[0], new_traceparent().encode())
    made = []
    for number in range(tasks):
        task_id = f"{JOB}/work/{number}"
        now_ms = int(time.time() * 1_000)
        task = Task(
            task_id=task_id, job_id=JOB, step="work", attempt=1, pool=POOL, lane=Lane.BATCH, workflow="fanout@1",
            reply_partition=number % RESULTS, template_hash="0" * 64, timeout_ms=600_000, dispatched_at_ms=now_ms,
            not_after_ms=now_ms + 86_400_000,
            call=LlmCall(messages=(ChatMessage(role="user", content=f"{number}:{PAYLOAD}"),)),
        )  # fmt: skip
        ids = [("x-job-id", JOB.encode()), ("x-task-id", task_id.encode()), ("x-attempt", b"1")]
        headers = [*schema_headers(Task), *ids, ("x-reply-partition", b"%d" % task.reply_partition), trace]
        made.append(Message(topic, number % PARTITIONS, number // PARTITIONS, encode(task), headers))
    return made


class _Consumer(Waiting):
    def __init__(self, _config: Mapping[str, Any]) -> None:
        super().__init__()

    def position(self, _partitions: list[Any]) -> list[Any]:
        return []

    def commit(self, **_: Any) -> None:
        """Take a commit and never answer it."""


class _Producer:
    """Acknowledges when it is told to. The sender's own thread finds nothing to do here."""

    def __init__(self, _config: Mapping[str, Any]) -> None:
        self.stop = Event()
        self._due: list[tuple[Callable[[None, Message], None], str, int]] = []
        self._offset = -1

    def produce(
        self, topic: str, _value: bytes, _key: bytes, partition: int, *, on_delivery: Any, headers: Any
    ) -> None:
        del headers
        if on_delivery is not None:
            self._due.append((on_delivery, topic, partition))

    def acknowledge(self) -> None:
        due, self._due = self._due, []
        for told, topic, partition in due:
            self._offset += 1
            told(None, Message(topic, partition, self._offset, b"", []))

    def poll(self, _timeout_s: float) -> None:
        self.stop.wait()

    def purge(self, **_: Any) -> None:
        """Nothing is left."""


def _fail(*_: Any) -> None:
    raise AssertionError("nothing fails here")


def _no_objects() -> Any:
    raise AssertionError("nothing is so large here")

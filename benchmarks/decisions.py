"""The orchestrator's own work, and the worker's, without a broker: where the microseconds of a task go.

The real shells decide about a fan-out whose results come back at once; what would be Kafka is lists. So the figures are
CPU time alone and steady where absolute times of a busy machine are not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.alone import loaded
from benchmarks.attempts import answer
from benchmarks.fakes import Message, Waiting
from benchmarks.payload import PAYLOAD
from benchmarks.report import Report, spread
from headrace.orchestrator.core import machine
from headrace.orchestrator.core.catalogue import WorkflowCatalogue
from headrace.orchestrator.service import environment_for, make_decider, make_intake, now_ms
from headrace.orchestrator.settings import Slot
from headrace.orchestrator.shell import meters
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.encoder import Encoder
from headrace.orchestrator.shell.input import Input
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.store import PartitionStore
from headrace.orchestrator.shell.taking import Taking
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.garbage import collect_rarely
from headrace.runtime.settings import Settings
from headrace.runtime.telemetry import configure_logging
from headrace.runtime.transaction import Committed
from headrace.schemas.codec import Record, decode, encode, schema_headers
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Lane, Result, Task, Usage

JOB = "00000000-0000-4000-8000-000000000000"
POOL = "noop"
WINDOW = 2_048
POOLS = {
    "endpoints": {"here": {"adapter": "noop", "public": False}},
    "pools": {POOL: {"endpoint": "here", "model": "noop", "concurrency": 512}},
}
STEP = {
    "for_each": "{{ input.items }}",
    "max_in_flight": WINDOW,
    "llm": {"pool": POOL, "prompt": "{{ item }}:" + PAYLOAD},
}
ONE = {"llm": {"pool": POOL, "prompt": "{{ input.word }}"}}
SMALL = {"name": "one", "version": 1, "steps": {"answer": ONE}}
WORKFLOW = {"name": "fanout", "version": 1, "steps": {"work": STEP}, "output": "{{ work | length }}"}


def run(quick: bool) -> Report:
    """Decide about a job of 10,000 tasks and about 2,000 jobs of one task, and answer 10,000 tasks, several times."""
    tasks, runs = 10_000, 3 if quick else 7
    collect_rarely()  # As the processes do.
    configure_logging(Settings())
    Alone().fan_out(2_000)
    found = [Alone().fan_out(tasks) for _ in range(runs)]
    figures: dict[str, float | int | str] = {"tasks": tasks}
    for phase in found[0]:
        figures |= spread([one[phase] / tasks * 1e6 for one in found], f"{phase}_us_per_task")
    jobs = 2_000
    Alone().small_jobs(500)
    small = [Alone().small_jobs(jobs) for _ in range(runs)]
    of_jobs: dict[str, float | int | str] = {"jobs": jobs}
    for phase in small[0]:
        of_jobs |= spread([one[phase] / jobs * 1e6 for one in small], f"{phase}_us_per_job")
    answer(2_000)
    answered = [answer(tasks) for _ in range(runs)]
    of_worker: dict[str, float | int | str] = {"tasks": tasks}
    for phase in answered[0]:
        of_worker |= spread([one[phase] / tasks * 1e6 for one in answered], f"{phase}_us_per_task")
    return Report({"orchestrator": figures, "jobs_of_one_task": of_jobs, "worker": of_worker})


class Alone:
    """An orchestrator between two lists."""

    def __init__(self) -> None:
        settings, file = loaded(POOLS)
        self._topics = topics = settings.topic_names
        self._limit = settings.orchestrator.batch_records
        environment = environment_for(settings, file, WorkflowCatalogue(), None)
        encoder = Encoder(topics, [POOL], max_bytes={}, inline_bytes=settings.objects.inline_bytes, objects=None)
        self._working: dict[int, Partition] = {}
        for number in range(settings.topics.partitions):
            offsets = {topics.jobs: 0, topics.results: 0}
            self._working[number] = Partition(PartitionStore(number, environment), offsets)
        slot = Slot("orchestrator-0")
        intake = make_intake(settings, None)
        self._decider = make_decider(settings, slot, intake=intake, encoder=encoder, working=self._working)
        self._consumer, self._session = Waiting(), _Session()
        membership: Any = _Membership(self._consumer)
        assignment: Any = _Assignment()
        self._input = Input(membership, assignment=assignment, working=self._working, results=topics.results)
        self._taking = Taking(
            self._input, self._decider, machine=machine, intake=intake, partitions=self._working, now_ms=now_ms
        )
        session: Any = self._session
        self._writer = Writer(session, encoder=encoder, working=self._working, topics=topics, group=bytes)
        self._spent: dict[str, float] = {}
        self._offset = -1

    def fan_out(self, tasks: int) -> dict[str, float]:
        """Run one job; return the CPU seconds of each part of the loop, and of all."""
        document = {"job_id": JOB, "workflow": WORKFLOW, "input": {"items": list(range(tasks))}}
        self._submit(document)
        return self._until(1)

    def small_jobs(self, jobs: int) -> dict[str, float]:
        """Run jobs of one task, submitted together; return the same of all of them."""
        for number in range(jobs):
            job_id = f"{JOB}-{number}"
            self._submit({"job_id": job_id, "workflow": SMALL, "input": {"word": job_id}})
        return self._until(jobs)

    def _submit(self, document: dict[str, Any]) -> None:
        job_id = document["job_id"]
        home = home_partition(job_id, len(self._working))
        value = json.dumps(document).encode()
        self._consumer.waiting.append(Message(self._topics.jobs, home, self._next(), value, [], job_id.encode()))

    def _next(self) -> int:
        self._offset += 1
        return self._offset

    def _until(self, jobs: int) -> dict[str, float]:
        """Answer tasks until so many jobs have ended."""
        task_topic, over = self._topics.tasks(POOL, Lane.BATCH), 0
        while over < jobs:
            self._turn()
            for record in self._session.written:
                if record.topic == task_topic:
                    self._consumer.waiting.append(_answer(record, self._topics.results, self._next()))
                over += record.topic == self._topics.outcomes
        return {**self._spent, "all": sum(self._spent.values())}

    def _turn(self) -> None:
        batch = Batch()
        with self._timed("poll"):
            self._input.poll(0, self._limit)
        with self._timed("results"):
            self._taking.take(batch, self._limit, 60.0)
        with self._timed("dispatch"):
            self._decider.deal(batch, self._limit)
        with self._timed("encode_state"):
            self._writer.write(batch)
        with self._timed("apply"):
            self._writer.apply(batch)
            self._input.applied()
            meters.committed(batch, 0.0, self._working.values())

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self._spent[phase] = self._spent.get(phase, 0.0) + time.process_time() - began


def _answer(record: Record, results: str, offset: int) -> Message:
    task = decode(Task, record.value)
    assert task.call is not None
    result = Result(
        task_id=task.task_id, job_id=task.job_id, attempt=1, output=task.call.messages[-1].content,
        finish_reason="stop", usage=Usage(input_tokens=77, output_tokens=77), model="noop", endpoint="here", pool=POOL,
        worker="noop-benchmark-host-12345",
    )  # fmt: skip
    job_id = task.job_id.encode()
    ids = [("x-job-id", job_id), ("x-task-id", task.task_id.encode()), ("x-attempt", b"1")]
    return Message(results, task.reply_partition, offset, encode(result), [*schema_headers(Result), *ids], job_id)


class _Membership:
    def __init__(self, consumer: Waiting) -> None:
        self.consumer = consumer


class _Assignment:
    def epoch(self, _partition: int) -> int:
        return 1


class _Session:
    """Takes every transaction."""

    def __init__(self) -> None:
        self.written: list[Record] = []

    def write(self, records: list[Record], **_: object) -> Committed:
        self.written = records
        places = [(record.ref, record.topic, 0, at) for at, record in enumerate(records) if record.ref is not None]
        return Committed({}, 0.0, places)

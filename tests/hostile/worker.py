"""A worker's pool without Kafka: real but for its producer, which keeps what is sent and acknowledges it at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from headrace.runtime.objects import ObjectStore
from headrace.schemas.codec import Record, decode
from headrace.schemas.errors import ConfigError
from headrace.schemas.messages import DeadLetter, Lane, Result
from headrace.schemas.pools import Endpoint, Pool
from headrace.schemas.topics import Topics
from headrace.workers.adapters.base import AdapterConfig
from headrace.workers.adapters.noop import NoopAdapter
from headrace.workers.core.journal import Entry
from headrace.workers.core.lease import Lease
from headrace.workers.shell.answers import Answers
from headrace.workers.shell.attempt import AttemptRunner
from headrace.workers.shell.delivery import Assignment, Delivery, Inbox, clock_ms
from headrace.workers.shell.pool import WorkPool
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.workplace import Workplace
from tests.hostile.bad import Bad
from tests.hostile.messages import CorpusMessage

TOPICS = Topics("t")
TASKS = TOPICS.tasks("noop", Lane.BATCH)
CONFIG = AdapterConfig("here", Endpoint(adapter="noop"), None, 1)
OFFSET = 7
PARTITIONS = 3
"""Of `results`."""
MAX_RECORD_BYTES = 1_000_000
"""What a producer takes by default: more would end the worker (`sender.py`)."""


class Sender:
    """Takes what Kafka would take."""

    stalled = False

    def __init__(self) -> None:
        self.records: list[Record] = []

    def send(self, *records: Record, finish: Any, kind: str) -> None:
        for record in records:
            size = len(record.value or b"") + len(record.key or b"")
            assert size + sum(len(name) + len(value) for name, value in record.headers) < MAX_RECORD_BYTES, record.topic
            assert record.topic != TOPICS.results or record.partition in range(PARTITIONS)
        self.records += records
        finish(len(self.records))


@dataclass(slots=True)
class Answered:
    """What a worker did with one record of a task topic."""

    records: list[Record] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    """Offsets that may be committed."""

    def on(self, topic: str, model: Any) -> list[Any]:
        return [decode(model, record.value) for record in self.records if record.topic == topic]

    @property
    def letters(self) -> list[DeadLetter]:
        return self.on(TOPICS.dead_letters, DeadLetter)

    @property
    def results(self) -> list[Result]:
        return self.on(TOPICS.results, Result)


def work_off(bad: Bad, noted: Entry | None = None) -> Answered:
    """Let a pool of the `noop` adapter take one record, and wait until its offset is done."""
    return asyncio.run(_work_off(bad, noted))


async def _work_off(bad: Bad, noted: Entry | None) -> Answered:
    sender, inbox, lease = Sender(), Inbox(), Lease(60_000)
    lease.beat(clock_ms())
    pool = _pool(sender)
    delivery = Delivery(Lane.BATCH, CorpusMessage(bad, topic=TASKS), OFFSET, Assignment(0, 1, lease), inbox, noted)
    pool.offer([delivery])
    for _ in range(2_000):
        if inbox.done:
            break
        await asyncio.sleep(0.001)
    return Answered(sender.records, [offset for _, _, offset, _ in inbox.done])


def _pool(sender: Any) -> WorkPool:
    place = Workplace(
        pool_name="noop", pool=Pool(endpoint="here"), worker="w",
        is_cancelled=lambda _job_id: False, objects=_no_store, inline_bytes=262_144,
    )  # fmt: skip
    runner = AttemptRunner(NoopAdapter(CONFIG), place)
    answers = Answers(sender, pool="noop", worker="w", topics=TOPICS, result_partitions=PARTITIONS)
    return WorkPool(
        runner, answers, AttemptReport("noop", "here", quiet=True), name="noop", concurrency=1, batch_every=8
    )


def _no_store() -> ObjectStore:
    raise ConfigError("there is no object store here")

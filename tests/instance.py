"""One orchestrator's parts without Kafka: intake, core, encoder and store over a changelog in a dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core import machine
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.events import ClosingResumed, Event
from headrace.orchestrator.core.view import Environment
from headrace.orchestrator.core.window import DispatchWindow
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.damage import load
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.encoder import Encoder
from headrace.orchestrator.shell.intake import Intake
from headrace.orchestrator.shell.large_calls import Objects
from headrace.orchestrator.shell.mender import Mender
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.store import PartitionStore
from headrace.runtime.letters import Source
from headrace.schemas.codec import Record, decode
from headrace.schemas.messages import Control, DeadLetter, Outcome, Task
from headrace.schemas.topics import Topics
from tests.world import POOLS

TOPICS = Topics("t")
NOW_MS = 5_000_000
Raw = dict[str, tuple[int, bytes | None]]


@dataclass
class Instance:
    """Decides and "commits": what it writes to `state` goes into the changelog, everything else is kept."""

    environment: Environment
    log: Raw = field(default_factory=dict)
    partitions: int = 1
    max_bytes: Mapping[str, int] = field(default_factory=dict)
    inline_bytes: int = 200_000
    pools: tuple[str, ...] = tuple(POOLS)
    objects: Objects | None = None
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        """Begin again from the changelog."""
        self.store = PartitionStore(0, self.environment)
        self.partition = Partition(self.store, damage=load(self.store, dict(self.log), 100))
        working = {0: self.partition}
        self.encoder = Encoder(
            TOPICS,
            self.pools,
            max_bytes=self.max_bytes,
            inline_bytes=self.inline_bytes,
            objects=self.objects,
            partitions=self.partitions,
        )
        self.decider = Decider(
            machine,
            intake=Intake(partitions=self.partitions, content_hash=submission_hash, jitter=lambda: 0.0),
            encoder=self.encoder,
            window=DispatchWindow(100),
            partitions=working,
            topics=TOPICS,
            by="o-1",
            max_markers=100_000,
            now_ms=lambda: NOW_MS,
            jitter=lambda: 0.0,
        )
        self.mender = Mender(
            self.decider, encoder=self.encoder, partitions=working, state=TOPICS.state, by="o-1", now_ms=lambda: NOW_MS
        )

    # ── What comes in ────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> list[Record]:
        """Read one record of `jobs` or `results` and return what it caused."""
        batch = Batch()
        self.offset += 1
        self.decider.take(batch, Source(topic, 0, self.offset, key, value, tuple(headers)), NOW_MS)
        self.decider.deal(batch, 1_000)
        return self.commit(batch)

    def deal(self) -> bool:
        """Deal room to jobs; return whether there is more to deal."""
        batch = Batch()
        more = self.decider.deal(batch, 1_000)
        self.commit(batch)
        return more

    def tell(self, job_id: str, event: Event) -> list[Record]:
        """Let the core decide about an event."""
        batch = Batch()
        self.decider.tell(batch, self.partition, job_id, event)
        return self.commit(batch)

    def fire(self) -> list[Record]:
        """Fire the timers that are due."""
        batch = Batch()
        self.decider.fire(batch, self.partition, NOW_MS, 1_000)
        return self.commit(batch)

    def close(self) -> None:
        """Tombstone what finished jobs left."""
        while closing := self.store.closing(10):
            for job_id in closing:
                self.tell(job_id, ClosingResumed())

    def transaction(self) -> bool:
        """One transaction of mending; return whether there is more to do."""
        batch = Batch()
        more = self.mender.mend(batch)
        self.commit(batch)
        return more

    def mend(self) -> None:
        while self.transaction():
            pass

    def commit(self, batch: Batch) -> list[Record]:
        """Write what was decided, and apply it to memory."""
        written = [*batch.records, *self.encoder.state(0, self.store.changes)]
        for record in written:
            if record.topic == TOPICS.state:
                key = (record.key or b"").decode("utf-8", "surrogateescape")
                self.log[key] = (1_000 + len(self.records), record.value)
        self.records += written
        self.store.commit()
        if self.partition.damage is not None:
            self.partition.damage.mended(batch.mended.get(0, 0))
        return [record for record in written if record.topic != TOPICS.state]

    # ── What came out ────────────────────────────────────────────────────────────────────────────────────────────

    def on(self, topic: str) -> list[Any]:
        models = {TOPICS.dead_letters: DeadLetter, TOPICS.outcomes: Outcome, TOPICS.control: Control}
        return [decode(models[topic], record.value) for record in self.records if record.topic == topic]

    @property
    def letters(self) -> list[DeadLetter]:
        return self.on(TOPICS.dead_letters)

    @property
    def outcomes(self) -> list[Outcome]:
        return self.on(TOPICS.outcomes)

    @property
    def tasks(self) -> list[Task]:
        return [decode(Task, record.value) for record in self.records if ".tasks." in record.topic]

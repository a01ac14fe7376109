"""What the decider does while the object store has not answered: nothing is lost, and other jobs go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.orchestrator.core import machine
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.window import DispatchWindow
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import AGAIN_MS, Decider
from headrace.orchestrator.shell.encoder import Encoder
from headrace.orchestrator.shell.intake import Intake
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.store import PartitionStore
from headrace.runtime.letters import Source
from headrace.schemas.codec import encode
from headrace.schemas.errors import DependencyUnavailable, ErrorKind
from headrace.schemas.messages import Failure, Result
from headrace.schemas.topics import Topics
from tests.world import World

TOPICS = Topics("t")


class Home:
    """One partition and its decider; the store is the world's."""

    def __init__(self) -> None:
        self.world = World()
        self.now_ms = 1_000_000
        self.partition = Partition(PartitionStore(0, self.world.environment))
        self.decider = Decider(
            machine,
            intake=Intake(partitions=1, content_hash=submission_hash, jitter=lambda: 0.0),
            encoder=Encoder(TOPICS, ["small", "large"], max_bytes={}, inline_bytes=262_144, objects=None),
            window=DispatchWindow(1_000),
            partitions={0: self.partition},
            topics=TOPICS,
            by="test",
            max_markers=1_000,
            now_ms=lambda: self.now_ms,
            jitter=lambda: 0.0,
        )
        self.offset = 0
        self.batch = Batch()

    def job(self, job_id: str, **fields: Any) -> None:
        step = {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "{{ item }}"}}
        workflow = {"name": "each", "version": 1, "steps": {"s": step}}
        value = json.dumps({"job_id": job_id, "workflow": workflow, **fields}).encode()
        self.decider.take(self.batch, Source(TOPICS.jobs, 0, self.offset, job_id.encode(), value), 5)
        self.offset += 1

    def result(self, result: Result) -> None:
        self.decider.take(self.batch, Source(TOPICS.results, 0, self.offset, None, encode(result)), 5)
        self.offset += 1

    def commit(self) -> list[str]:
        """Commit the batch; return the tasks that it sent."""
        sent = [record for record in self.batch.records if ".tasks." in record.topic]
        self.batch = Batch()
        self.partition.store.commit()
        return [json.loads(record.value or b"")["task_id"] for record in sent]


def test_a_job_whose_part_is_not_read_yet_waits_and_the_others_dispatch() -> None:
    home = Home()
    items = home.world.keep_items(["a", "b"]).model_dump(mode="json")
    home.job("far", items=items)
    home.job("near", input={"items": [1, 2]})
    home.world.down = True
    home.decider.deal(home.batch, 100)
    assert home.commit() == ["near/s/0", "near/s/1"]
    assert list(home.decider.waiting) == ["far"]
    home.decider.deal(home.batch, 100)
    assert home.commit() == []
    home.world.down = False
    home.decider.deal(home.batch, 100)
    assert home.commit() == ["far/s/0", "far/s/1"]
    assert not home.decider.waiting


def test_a_job_that_waits_is_forgotten_with_its_partition() -> None:
    home = Home()
    home.job("far", items=home.world.keep_items(["a"]).model_dump(mode="json"))
    home.world.down = True
    home.decider.deal(home.batch, 100)
    home.decider.forget(0)
    assert not home.decider.waiting
    home.decider.deal(home.batch, 100)


def test_a_record_that_cannot_be_decided_leaves_no_trace_in_its_batch() -> None:
    home = Home()
    home.job("near", input={"items": [1]})
    before = (dict(home.batch.next), home.batch.read, len(home.batch.records), dict(home.partition.store.changes))
    ref = home.world.keep(b'{"items": [1]}').model_dump()
    home.world.down = True
    with pytest.raises(DependencyUnavailable):
        home.job("far", input_ref=ref)
    after = (dict(home.batch.next), home.batch.read, len(home.batch.records), dict(home.partition.store.changes))
    assert after == before
    home.world.down = False
    home.job("far", input_ref=ref)
    home.decider.deal(home.batch, 100)
    assert sorted(home.commit()) == ["far/s/0", "near/s/0"]


def test_a_retry_whose_part_cannot_be_read_comes_again_and_stops_nothing_else() -> None:
    home = Home()
    home.world.environment.lines._capacity_bytes = 1
    home.job("far", items=home.world.keep_items(["a"], ["b"]).model_dump(mode="json"))
    home.decider.deal(home.batch, 100)
    assert home.commit() == ["far/s/0", "far/s/1"]
    failure = Failure(kind=ErrorKind.OVERLOADED, message="busy")
    home.result(Result(task_id="far/s/0", job_id="far", attempt=1, failure=failure))
    home.commit()
    home.world.down = True
    home.now_ms += 60_000
    for _ in range(3):
        assert home.decider.fire(home.batch, home.partition, home.now_ms, 100) == 1
        home.job(f"near{home.offset}", input={"items": [1]})
        home.decider.deal(home.batch, 100)
        assert home.commit() == [f"near{home.offset - 1}/s/0"]
        assert home.partition.store.next_due_ms() == home.now_ms + AGAIN_MS
        home.now_ms += AGAIN_MS
    home.world.down = False
    home.decider.fire(home.batch, home.partition, home.now_ms, 100)
    assert home.commit() == ["far/s/0"]
    assert home.partition.store.timers.next_due_ms() is None

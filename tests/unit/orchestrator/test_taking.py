"""What the shell decides in a row: the same records as one by one, cut where the batch is full."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.orchestrator.core import machine
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.halving import Part
from headrace.orchestrator.shell.input import Input, Read
from headrace.orchestrator.shell.intake import Intake
from headrace.orchestrator.shell.taking import Taking
from headrace.runtime.letters import Source
from headrace.schemas.codec import encode
from headrace.schemas.messages import Task
from tests.instance import NOW_MS, TOPICS, Instance
from tests.world import World, echo

STEP = {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8}}
WORKFLOW = {"name": "w", "version": 1, "steps": {"each": STEP}, "output": "{{ each }}"}


def instance(*jobs: str, items: int = 6) -> tuple[Instance, dict[str, list[Task]]]:
    made = Instance(World().environment)
    tasks = {}
    for job_id in jobs:
        document = {"job_id": job_id, "workflow": WORKFLOW, "input": {"items": list(range(items))}}
        records = made.read(TOPICS.jobs, job_id.encode(), json.dumps(document).encode())
        found = [Task.model_validate_json(each.value or b"") for each in records if each.topic.startswith("t.tasks")]
        assert len(found) == items
        tasks[job_id] = found
    return made, tasks


def taking(made: Instance, values: list[tuple[str, bytes]]) -> tuple[Taking, Input]:
    nothing: Any = SimpleNamespace()
    read = Input(nothing, assignment=nothing, working={}, results=TOPICS.results)
    for number, (key, value) in enumerate(values):
        read._queue.append(Read(Source(TOPICS.results, 0, 100 + number, key.encode(), value), 50 + number))
    intake = Intake(partitions=1, content_hash=submission_hash, jitter=lambda: 0.0)
    working = {0: made.partition}
    return Taking(read, made.decider, machine=machine, intake=intake, partitions=working, now_ms=lambda: NOW_MS), read


def answers(tasks: list[Task]) -> list[tuple[str, bytes]]:
    return [(task.job_id, encode(echo(task))) for task in tasks]


def test_a_row_is_counted_piece_by_piece_and_its_place_is_noted() -> None:
    made, tasks = instance("a")
    take, read = taking(made, answers(tasks["a"])[:5])
    batch = Batch()
    take.take(batch, 1_000, 60.0)
    assert (batch.read, batch.pieces, batch.records) == (5, 5, [])
    assert batch.last is not None
    assert batch.last.part is Part.RECORDS
    assert batch.next == {(TOPICS.results, 0): 105}
    assert batch.last_result_ms == {0: 54}
    assert read.untake() == 5, "what was decided in a row is decided again where its transaction fails"


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_batch_takes_no_more_than_it_may(limit: int) -> None:
    made, tasks = instance("a")
    take, read = taking(made, answers(tasks["a"]))
    batch = Batch()
    take.take(batch, limit, 60.0)
    assert (batch.read, batch.pieces, read.waiting()) == (limit, limit, 6 - limit)


def test_broken_records_and_other_jobs_end_a_row_and_all_jobs_end() -> None:
    made, tasks = instance("a", "b")
    first, second = answers(tasks["a"]), answers(tasks["b"])
    values = [*first[:3], ("a", b"{"), *second[:4], ("a", second[4][1]), *first[3:], *second[4:], *first[:2]]
    take, _ = taking(made, values)
    batch = Batch()
    take.take(batch, 1_000, 60.0)
    records = made.commit(batch)
    assert sorted((each.key or b"").decode() for each in records if each.topic == TOPICS.outcomes) == ["a", "b"]
    assert [each.topic for each in records].count(TOPICS.dead_letters) == 1
    assert (batch.counts["ignored", "job_over"], batch.counts["ignored", "repeated_result"]) == (2, 1)
    assert batch.next == {(TOPICS.results, 0): 100 + len(values)}


def test_each_record_is_read_once_whatever_a_row_leaves_behind() -> None:
    """A job whose answers are objects has no row; looking for one must not cost it more with each record."""
    made, tasks = instance("a", "b", items=40)
    objects = [(task.job_id, encode(echo(task).model_copy(update={"output": {"n": 1}}))) for task in tasks["a"]]
    mixed = answers(tasks["b"])
    mixed[7] = (mixed[7][0], encode(echo(tasks["b"][7]).model_copy(update={"output": {"n": 1}})))
    take, _ = taking(made, [*objects, *mixed])
    looked: list[int] = []
    read_result = take._intake.result
    take._intake.result = lambda source: looked.append(source.offset) or read_result(source)  # type: ignore[method-assign, func-returns-value]
    made.decider._intake = take._intake
    batch = Batch()
    take.take(batch, 1_000, 60.0)
    assert looked == [100 + number for number in range(80)]
    records = made.commit(batch)
    assert sorted((each.key or b"").decode() for each in records if each.topic == TOPICS.outcomes) == ["a", "b"]


def test_what_was_read_ahead_is_not_taken_for_what_comes_in_its_place() -> None:
    made, tasks = instance("a", "b")
    objects = [(task.job_id, encode(echo(task).model_copy(update={"output": {}}))) for task in tasks["a"]]
    take, read = taking(made, objects)
    take.take(Batch(), 1, 60.0)
    read._queue.clear()
    for number, (key, value) in enumerate(answers(tasks["b"])):
        read._queue.append(Read(Source(TOPICS.results, 0, 101 + number, key.encode(), value), 60))
    batch = Batch()
    take.take(batch, 1_000, 60.0)
    assert [(each.key or b"").decode() for each in made.commit(batch) if each.topic == TOPICS.outcomes] == ["b"]


def test_what_fails_in_a_row_is_found_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made, tasks = instance("a")
    monkeypatch.setattr("headrace.orchestrator.core.rows.budget.settle_all", lambda *_, **__: 1 / 0)
    take, _ = taking(made, answers(tasks["a"]))
    batch = Batch()
    take.take(batch, 1_000, 60.0)
    assert [each.topic for each in batch.records].count(TOPICS.outcomes) == 1
    assert [each.topic for each in batch.records].count(TOPICS.dead_letters) == 0

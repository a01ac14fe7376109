"""Finished tasks, packed: what goes in comes out, and what would lose something does not go in."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.repair import Repair
from headrace.orchestrator.core.state import TaskRecord, TaskStatus, job_key, task_key
from headrace.orchestrator.core.task_edit import TaskEdit
from headrace.orchestrator.core.told import Told
from headrace.orchestrator.shell.finished import CHUNK, FinishedTasks
from headrace.orchestrator.shell.store import PartitionStore
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import AttemptNote, Failure, ObjectRef
from tests.world import World

REF = ObjectRef(key="sha256/" + "0" * 64, size_bytes=5_000, sha256="0" * 64)
DONE = TaskRecord(TaskStatus.DONE, 1, 1_790_000_000_000, output="a note")
KEY = task_key("j", "work", 0)
KEPT = {"attempt", "at_ms", "output", "output_ref", "truncated"}
OTHERS: dict[str, Any] = {
    "status": TaskStatus.FAILED,
    "due_ms": 5,
    "failure": Failure(kind=ErrorKind.TIMEOUT, message="late"),
    "reserved": (1, 2),
    "free": 1,
    "kills": 1,
    "stops": 1,
    "cause": "kill",
    "owed": (Owed(1, "small"),),
    "history": (AttemptNote(attempt=1, kind="timeout", message="late", at_ms=1),),
    "edit": TaskEdit("large"),
    "redrives": 1,
    "told": Told(cost_microusd=1),
    "repair": Repair("x", "y"),
}
"""A value of each field that a chunk has no room for."""

texts = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=10
)


@given(st.integers(1, 20_000), st.integers(-(2**63), 2**63 - 1), json_values, st.booleans(), st.booleans())
def test_a_record_comes_back_as_it_was_or_is_not_taken(
    attempt: int, at_ms: int, output: object, stored: bool, truncated: bool
) -> None:
    record = TaskRecord(TaskStatus.DONE, attempt, at_ms, output=None if stored else output, truncated=truncated)
    record = replace(record, output_ref=REF if stored else None)
    finished = FinishedTasks()
    taken = finished.keep(KEY, record)
    assert taken == (attempt < 16_384)
    assert finished.get(KEY) == (record if taken else None)
    assert repr(finished.get(KEY)) == repr(record if taken else None)  # 1, 1.0 and True are equal, and not the same.


def test_every_field_is_either_kept_or_keeps_a_record_out() -> None:
    assert {each.name for each in fields(TaskRecord)} == KEPT | set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_record_that_has_more_to_tell_is_not_taken(name: str) -> None:
    finished = FinishedTasks()
    assert not finished.keep(KEY, replace(DONE, **{name: OTHERS[name]}))
    assert not finished.keep(KEY, replace(DONE, output_ref=REF))  # Of a broken state: an output and a reference.
    assert len(finished) == 0


def test_tasks_of_many_chunks_and_steps_stand_apart_and_leave_nothing() -> None:
    finished = FinishedTasks()
    keys = [task_key("j", step, index) for step in ("a", "b") for index in (0, 1, CHUNK - 1, CHUNK, 9_999_999)]
    for number, key in enumerate(keys):
        assert finished.keep(key, replace(DONE, output=number))
        assert finished.keep(key, replace(DONE, output=[number], attempt=2))
    assert len(finished) == len(keys)
    assert [finished.get(key) for key in keys] == [replace(DONE, output=[at], attempt=2) for at in range(len(keys))]
    assert finished.keys_of("j") == keys
    assert list(finished.jobs()) == ["j", "j"]
    for key in [*keys, *keys]:
        finished.drop(key)
        assert finished.get(key) is None
    assert len(finished) == 0
    assert list(finished.jobs()) == []


@pytest.mark.parametrize("key", ["task/j/work/00", "task/j/work/+0", "task/j/work/٠", "task/j/work/", "owner", "0"])
def test_a_key_written_otherwise_is_another_key(key: str) -> None:
    finished = FinishedTasks()
    finished.keep(KEY, DONE)
    finished.drop(key)
    assert finished.get(key) is None
    assert finished.get(KEY) == DONE


# ── In the store ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_seen_the_same_wherever_it_lies_and_counted_once() -> None:
    made = PartitionStore(0, World().environment)
    owed = replace(DONE, owed=(Owed(1, "small"),))
    for record, tasks in ((replace(DONE, status=TaskStatus.LIVE), 1), (owed, 0), (DONE, 0), (owed, 0), (DONE, 0)):
        made.put({KEY: record}, "j")
        made.commit()
        assert made.get(KEY) == record
        assert made.view("j").task("work", 0) == record
        assert (len(made), made.counters.tasks) == (1, tasks)
    made.put({KEY: None}, "j")
    assert made.get(KEY) is None
    made.rollback()
    assert made.get(KEY) == DONE
    made.put({KEY: None}, "j")
    made.commit()
    assert (len(made), made.get(KEY)) == (0, None)


def test_a_finished_task_whose_id_is_used_again_is_live_again() -> None:
    made = PartitionStore(0, World().environment)
    made.load([(KEY, DONE)], 1)
    assert not made.is_out(KEY, 1)
    assert made.task_keys() == []
    again = TaskRecord(TaskStatus.RETRYING, 1, 5, due_ms=9)
    made.load([(KEY, again)], 2)  # Another instance had the partition meanwhile.
    assert (len(made), made.counters.tasks, made.get(KEY)) == (1, 1, again)
    assert made.timers.take(9) == KEY


@pytest.mark.parametrize("output", ["a note of some length", {"label": "spam", "score": 0.5, "why": ["a", "b"]}])
def test_a_finished_task_takes_at_most_100_bytes_beside_its_output(output: object) -> None:
    """A million of them take 100 MB; as a record with its key each took 350 and more."""
    made, count = PartitionStore(0, World().environment), 20 * CHUNK
    tracemalloc.start()
    try:
        for start in range(0, count, CHUNK):
            keys = [task_key("a-job-with-a-name", "work", index) for index in range(start, start + CHUNK)]
            copies = [json.loads(json.dumps(output)) for _ in keys]
            made.put({key: replace(DONE, output=copy) for key, copy in zip(keys, copies, strict=True)}, "j")
            made.commit()
            del keys, copies
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(made) == count
    assert taken / count - len(json.dumps(output)) <= 100


def test_finished_tasks_of_a_job_that_is_not_there_are_orphans() -> None:
    made = PartitionStore(0, World().environment)
    made.load([(task_key("gone", "work", index), DONE) for index in (3, CHUNK)], 1)
    assert job_key("gone") not in made.survey()[1]
    assert made.survey()[1] == [task_key("gone", "work", 3), task_key("gone", "work", CHUNK)]

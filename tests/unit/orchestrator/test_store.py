"""A partition in memory: base, overlay, timers, counters."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.state import (
    Cursor,
    JobHeader,
    JobSpec,
    Marker,
    Phase,
    StateRecord,
    TaskRecord,
    TaskStatus,
    job_key,
    marker_key,
    task_key,
)
from headrace.orchestrator.shell.store import PartitionStore
from tests.world import World

SPEC = JobSpec(
    job_id="j", workflow="w@1", workflow_sha256="", content_hash="h", tenant="default", lane="interactive", priority=0,
    sensitivity="internal", submitted_at_ms=1, accepted_at_ms=1, tokens_rule="chars4",
)  # fmt: skip
HEADER = JobHeader(SPEC)
TASK = task_key("j", "s", 0)


def store() -> PartitionStore:
    return PartitionStore(0, World().environment)


def retrying(due_ms: int) -> TaskRecord:
    return TaskRecord(TaskStatus.RETRYING, 1, 0, due_ms=due_ms)


def committed(made: PartitionStore, **changes: StateRecord | None) -> None:
    made.put({key.replace("__", "/"): record for key, record in changes.items()}, "j")
    made.commit()


def test_a_batch_sees_its_own_changes_and_a_rollback_forgets_them() -> None:
    made = store()
    made.put({job_key("j"): HEADER}, "j")
    assert made.knows("j")
    assert made.view("j").header() == HEADER
    memo = made.view("j").memo
    made.rollback()
    assert not made.knows("j")
    assert not made.changes
    assert made.view("j").memo is not memo


def test_counters_follow_the_committed_records() -> None:
    made = store()
    made.put({job_key("j"): HEADER, TASK: TaskRecord(TaskStatus.LIVE, 1, 0)}, "j")
    assert made.counters.jobs == 0
    made.commit()
    assert (made.counters.jobs, made.counters.interactive, made.counters.tasks) == (1, 1, 1)
    made.put({job_key("j"): replace(HEADER, phase=Phase.CLOSING), TASK: TaskRecord(TaskStatus.DONE, 1, 0)}, "j")
    made.commit()
    assert (made.counters.jobs, made.counters.tasks) == (0, 0)
    assert made.closing(5) == ["j"]
    made.put({job_key("j"): None, TASK: None, marker_key("j"): Marker("h", "failed", "{}", 0, 50)}, "j")
    made.commit()
    assert made.counters.markers == 1
    assert made.closing(5) == []
    assert len(made) == 1


def test_a_timer_fires_once_and_again_after_a_rollback() -> None:
    made = store()
    committed(made, **{TASK.replace("/", "__"): retrying(100)})
    assert made.timers.take(99) is None
    assert made.timers.take(100) == TASK
    assert made.timers.take(100) is None
    made.rollback()
    assert made.timers.take(100) == TASK
    made.put({TASK: TaskRecord(TaskStatus.LIVE, 2, 0)}, "j")
    made.commit()
    assert made.timers.next_due_ms() is None


def test_a_timer_that_moved_counts_only_at_its_new_time() -> None:
    made = store()
    committed(made, **{TASK.replace("/", "__"): retrying(100)})
    committed(made, **{TASK.replace("/", "__"): retrying(300)})
    assert made.timers.next_due_ms() == 300
    committed(made, **{TASK.replace("/", "__"): None})
    assert made.timers.next_due_ms() is None


def test_an_uncommitted_change_does_not_lose_a_timer() -> None:
    made = store()
    committed(made, **{TASK.replace("/", "__"): retrying(100)})
    made.put({TASK: None}, "j")
    assert made.timers.next_due_ms() == 100
    made.rollback()
    assert made.timers.take(100) == TASK


def test_loading_again_what_is_known_changes_nothing() -> None:
    made = store()
    records: list[tuple[str, StateRecord | None]] = [(job_key("j"), HEADER), ("cursor/jobs", Cursor(5))]
    made.load(records, 2)
    made.load(records, 2)
    assert (made.counters.jobs, made.offset, made.cursor("jobs")) == (1, 2, 5)
    assert made.running() == ["j"]

"""Copies that are written out field by field keep every field: a new one must not be lost in any of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.job_ending import Ending
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.orchestrator.core.state import (
    JobHeader,
    JobSpec,
    Phase,
    PoolSpent,
    StepState,
    StepStatus,
    TaskRecord,
    TaskStatus,
    task_key,
)
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import AttemptNote, Failure, ObjectRef, Result, Usage

SPEC = JobSpec("j", "w@1", "", "h", "default", "batch", 0, "internal", 1, 1, "chars4")
STATE = StepState(StepStatus.DONE, 2, 3, 4, 5, 6, 7, 8, 9, 10, True, 11, "b")
SPENT = PoolSpent(*range(2, 11), ("model",), *range(12, 18))  # type: ignore[arg-type]
HEADER = JobHeader(
    SPEC,
    Phase.CLOSING,
    (("s", STATE),),
    (("p", SPENT),),
    11,
    12,
    blocked=True,
    close_step=1,
    close_index=2,
    ending=Ending("failed", None, "m", (("s", 1),)),
)
NOTE = AttemptNote(attempt=1, kind=ErrorKind.NETWORK, message="m", at_ms=1, pool="p", worker="w")
OTHERS: dict[str, Any] = {
    "due_ms": 5,
    "output_ref": ObjectRef(key="sha256/" + "0" * 64, size_bytes=1, sha256="0" * 64),
    "truncated": True,
    "failure": Failure(kind=ErrorKind.NETWORK, message="m"),
    "reserved": (1, 2),
    "owed": (Owed(1, "p", 2, 3),),
    "history": (NOTE,),
}
"""What a task's record may have beside its status and output, each enough by itself to be written down."""


def named(value: Any, *left_out: str) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value) if each.name not in left_out}


def test_the_values_differ_from_every_default() -> None:
    for value in (STATE, SPENT, HEADER):
        assert all(getattr(value, each.name) != each.default for each in fields(value)), value


def test_counters_that_move_leave_the_others_alone() -> None:
    assert STATE.moved() == STATE
    assert STATE.moved(next=1, live=1, retrying=1, done=1, failed=1, truncated=1) == replace(
        STATE, next=4, live=5, retrying=6, done=7, failed=8, truncated=9
    )


def test_a_header_keeps_all_but_the_step_or_the_pool_that_changed() -> None:
    other = replace(STATE, total=99)
    assert HEADER.with_step("s", other) == replace(HEADER, steps=(("s", other),))
    assert HEADER.with_spent("q", SPENT) == replace(HEADER, spent=(("p", SPENT), ("q", SPENT)))


def test_a_result_that_cost_nothing_changes_nothing_but_the_count_of_attempts() -> None:
    result = Result(task_id="j/s/0", job_id="j", attempt=1, usage=Usage())
    settled = budget.settle(HEADER, None, result, pool="p", ended=False)
    assert named(settled.spent_in("p"), "attempts") == named(SPENT, "attempts")


@pytest.mark.parametrize("name", OTHERS)
def test_a_task_with_anything_to_tell_beside_its_status_is_read_back_with_it(name: str) -> None:
    for output in (None, "text"):
        record = TaskRecord(TaskStatus.RETRYING, 1, 1, output=output, **{name: OTHERS[name]})
        assert decode_record(task_key("j", "s", 0), encode_record(record)) == record

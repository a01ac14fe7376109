"""Value objects: frozen where it is tested, fast where it counts, and equal by value in both."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from headrace.orchestrator.core.state import StepState
from headrace.schemas.base import trusted
from headrace.schemas.codec import decode, encode
from headrace.schemas.messages import ChatMessage, Lane, LlmCall, Task

LOOK = """
from headrace.orchestrator.core.state import StepState
one, other = StepState(total=3), StepState(total=3)
print(one == other, hash(one) == hash(other))
one.total = 4
print(one.total)
"""


def test_tests_find_an_assignment_to_a_value_object() -> None:
    with pytest.raises(FrozenInstanceError):
        StepState(total=3).total = 4  # type: ignore[misc]


def test_value_objects_are_compared_and_hashed_by_value_where_they_are_fast() -> None:
    environment = {**os.environ, "HEADRACE_CHECKED": ""}
    done = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "4"]


def test_a_trusted_message_is_what_validation_would_have_made() -> None:
    call = trusted(LlmCall, messages=(trusted(ChatMessage, role="user", content="é"),), stop=("x",))
    given = {"task_id": "j/s/0", "job_id": "j", "step": "s", "attempt": 1, "pool": "p", "lane": Lane.BATCH}
    task = trusted(Task, **given, reply_partition=3, timeout_ms=5, call=call)
    read = decode(Task, encode(task))
    assert read == Task.model_validate({**given, "reply_partition": 3, "timeout_ms": 5, "call": call})
    assert encode(read) == encode(task)
    assert task.model_copy(update={"attempt": 2}).attempt == 2

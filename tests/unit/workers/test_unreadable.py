"""Who is answered for a task that cannot be read."""

from __future__ import annotations

import pytest

from headrace.schemas.codec import decode
from headrace.schemas.errors import DecodeError, ErrorKind
from headrace.schemas.messages import Result
from headrace.workers.shell.unreadable import failed_result

HEADERS = {"x-job-id": "j", "x-task-id": "j/s/0", "x-attempt": "2", "x-reply-partition": "1"}


def answer(headers, kind="invalid_json"):
    error = DecodeError("m" * 9_000, kind=kind)
    return failed_result(error, topic="results", pool="p", worker="w", partitions=3, headers=headers)


def test_the_headers_say_who_is_answered():
    record = answer(HEADERS)
    result = decode(Result, record.value)
    assert (record.topic, record.partition, record.key) == ("results", 1, b"j")
    assert (result.task_id, result.attempt, result.failure.kind) == ("j/s/0", 2, ErrorKind.INTERNAL)
    assert len(result.failure.message) <= 1_000


@pytest.mark.parametrize("kind", ["headers_contradict", "task_of_another_job"])
def test_where_headers_and_value_tell_two_stories_nobody_is_answered(kind):
    assert answer(HEADERS, kind) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"x-job-id": "k"}, {"x-task-id": "j"}, {"x-task-id": "j/s/²"}, {"x-attempt": "0"}, {"x-attempt": "²"},
        {"x-attempt": "9" * 5_000}, {"x-reply-partition": "3"}, {"x-reply-partition": "-1"},
        {"x-reply-partition": "9" * 5_000}, {"x-job-id": "j" * 900_000},
    ],
)  # fmt: skip
def test_headers_that_cannot_be_believed_answer_nobody(wrong):
    assert answer({**HEADERS, **wrong}) is None
    assert answer({name: value for name, value in HEADERS.items() if name not in wrong}) is None

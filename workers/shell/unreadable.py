"""A task record that cannot be read: the failed result that its headers still allow."""

from __future__ import annotations

from headrace.schemas.agreement import MAX_ATTEMPT
from headrace.schemas.codec import (
    ATTEMPT_HEADER,
    JOB_HEADER,
    REPLY_HEADER,
    TASK_HEADER,
    Record,
    encode,
    schema_headers,
    whole_number,
)
from headrace.schemas.errors import ContractError, ErrorKind
from headrace.schemas.ids import TASK_ID
from headrace.schemas.messages import Failure, Result

FORGED = ("headers_contradict", "task_of_another_job")
"""Where headers and value tell two stories, neither is believed: nobody is answered, and the task counts as lost."""


def failed_result(
    error: ContractError, *, topic: str, pool: str, worker: str, partitions: int, headers: dict[str, str]
) -> Record | None:
    """Return the failed result of a task that cannot be read, or None where its headers do not say whose it is.

    Args:
        topic: the topic of results.
        partitions: its partition count; a reply partition outside it cannot be answered.
    """
    task_id = TASK_ID.fullmatch(headers.get(TASK_HEADER, ""))
    attempt, reply = (whole_number(headers.get(name, "")) for name in (ATTEMPT_HEADER, REPLY_HEADER))
    if error.kind in FORGED or task_id is None or task_id[1] != headers.get(JOB_HEADER):
        return None
    if not (attempt and attempt <= MAX_ATTEMPT and reply is not None and reply < partitions):
        return None
    failure = Failure(kind=ErrorKind.INTERNAL, message=f"the worker cannot read the task: {error.message}"[:1_000])
    result = Result(task_id=task_id[0], job_id=task_id[1], attempt=attempt, failure=failure, pool=pool, worker=worker)
    return Record(topic, result.job_id.encode(), encode(result), reply, result_headers(result))


def result_headers(result: Result) -> list[tuple[str, bytes]]:
    """Return the headers of a result: schema, and whose it is."""
    return [
        *_RESULT_SCHEMA,
        (JOB_HEADER, result.job_id.encode()),
        (TASK_HEADER, result.task_id.encode()),
        (ATTEMPT_HEADER, b"%d" % result.attempt),
    ]


_RESULT_SCHEMA = schema_headers(Result)

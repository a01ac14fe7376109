"""A task record that cannot be read: its dead letter, and the failed result that its headers still allow."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any

from headrace.schemas.codec import (
    ATTEMPT_HEADER,
    JOB_HEADER,
    REPLY_HEADER,
    TASK_HEADER,
    Record,
    encode,
    schema_headers,
)
from headrace.schemas.errors import ContractError, ErrorKind
from headrace.schemas.messages import DeadLetter, Failure, Origin, Result

MAX_VALUE_BYTES = 700_000
MAX_HEADER_BYTES = 16_384


def dead_letter(message: Any, error: ContractError, *, topic: str, by: str, headers: dict[str, str]) -> Record:
    """Return the dead letter of a record.

    Args:
        message: the confluent_kafka Message.
        topic: the topic of dead letters.
        by: this process.
        headers: the record's headers, as `header_map` gives them.
    """
    value, key = message.value(), message.key()
    raw = [(name, value or b"") for name, value in message.headers() or ()]
    letter = DeadLetter(
        reason=error.kind,
        message=error.message,
        errors=(error.message, error.hint) if error.hint else (error.message,),
        origin=Origin(topic=message.topic(), partition=message.partition(), offset=message.offset()),
        at_ms=int(time.time() * 1_000),
        by=by,
        job_id=headers.get(JOB_HEADER),
        key_base64=None if key is None else b64encode(key).decode(),
        value_base64=None if value is None else b64encode(value[:MAX_VALUE_BYTES]).decode(),
        value_bytes=len(value or b""),
        headers=tuple((name, b64encode(text[:MAX_HEADER_BYTES]).decode()) for name, text in raw[:64]),
    )
    return Record(topic, key, encode(letter), headers=schema_headers(DeadLetter))


def failed_result(
    error: ContractError, *, topic: str, pool: str, worker: str, partitions: int, headers: dict[str, str]
) -> Record | None:
    """Return the failed result of a task that cannot be read, or None where its headers do not say whose it is.

    Args:
        topic: the topic of results.
        partitions: its partition count; a reply partition outside it cannot be answered.
    """
    job_id, task_id = headers.get(JOB_HEADER), headers.get(TASK_HEADER)
    attempt, reply = headers.get(ATTEMPT_HEADER, ""), headers.get(REPLY_HEADER, "")
    if not (job_id and task_id and attempt.isdecimal() and reply.isdecimal() and int(reply) < partitions):
        return None
    failure = Failure(kind=ErrorKind.INTERNAL, message=f"the worker cannot read the task: {error.message}"[:1_000])
    result = Result(task_id=task_id, job_id=job_id, attempt=int(attempt), failure=failure, pool=pool, worker=worker)
    return Record(topic, job_id.encode(), encode(result), int(reply), result_headers(result))


def result_headers(result: Result) -> list[tuple[str, bytes]]:
    """Return the headers of a result: schema, and whose it is."""
    return [
        *_RESULT_SCHEMA,
        (JOB_HEADER, result.job_id.encode()),
        (TASK_HEADER, result.task_id.encode()),
        (ATTEMPT_HEADER, b"%d" % result.attempt),
    ]


_RESULT_SCHEMA = schema_headers(Result)

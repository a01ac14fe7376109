"""Dead letters: a record as it was, where it lay, whose it was, and why it was set aside. Built here by every process.

A letter always fits its topic, whatever it is about: a key, headers and ids may each be a megabyte. What is cut says
so (`DeadLetter.value_bytes`, `key_bytes`, `headers_left_out`), because a cut record cannot be sent back.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from headrace.runtime.kafka import ReadHeaders, headers_of
from headrace.schemas.codec import (
    ATTEMPT_HEADER,
    JOB_HEADER,
    REDRIVES_HEADER,
    REPLY_HEADER,
    TASK_HEADER,
    RawHeaders,
    Record,
    encode,
    header_map,
    schema_headers,
    whole_number,
)
from headrace.schemas.errors import DecodeError
from headrace.schemas.ids import JOB_ID, TaskId
from headrace.schemas.letters import AttemptNote, DeadLetter, Origin
from headrace.schemas.messages import Task

MAX_LETTER_BYTES = 980_000
"""Key, value and headers of a letter: librdkafka and Kafka take a million by default, batch overhead included."""
MAX_KEY_BYTES = 4_096
MAX_HEADER_BYTES = 16_384
MAX_NAME = 200
"""Characters of a pool's, tenant's or workflow's name."""
NO_OFFSET = -1
"""The origin's offset of a letter that no record brought about."""
GLANCE_BYTES = 2_000_000
"""Values above this are not parsed for names: they would take many times their size."""


class Source(NamedTuple):
    """A record that was read, as far as a dead letter needs it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a record is, as far as it can be known."""

    job_id: str | None = None
    task_id: str | None = None
    pool: str | None = None
    tenant: str | None = None
    workflow: str | None = None


def source_of(message: Any, headers: ReadHeaders | None = None) -> Source:
    """Return a Kafka message as a source; ``headers`` where they were read already."""
    read = headers_of(message) if headers is None else headers
    return Source(message.topic(), message.partition(), message.offset(), message.key(), message.value(), read)


def dead_letter(
    source: Source,
    *,
    reason: str,
    message: str,
    at_ms: int,
    by: str,
    whose: Whose | None = None,
    errors: Iterable[str] = (),
    attempts: Sequence[AttemptNote] = (),
    redrives: int | None = None,
    max_bytes: int = MAX_LETTER_BYTES,
) -> DeadLetter:
    """Return the dead letter of a record.

    Args:
        source: the record.
        reason: a short name, such as ``invalid_json``.
        message: what is wrong and what to do about it.
        by: the process that sets it aside.
        whose: what is known already; the rest is taken from the record (`whose_is`).
        errors: the chain of causes, outermost first.
        attempts: what was tried; the last ten are kept.
        redrives: how often it was sent back; None reads it from the record's headers.
        max_bytes: what the whole record may have; the value is cut so that it fits.
    """
    found = whose_is(source, whose or Whose())
    headers, left_out = _kept_headers(source.headers)
    letter = DeadLetter(
        reason=_text(reason, 100),
        message=_text(message, 4_000),
        errors=tuple(_text(error, 1_000) for error in list(errors)[:10]),
        origin=Origin(topic=source.topic, partition=source.partition, offset=source.offset),
        at_ms=at_ms,
        by=_text(by, MAX_NAME),
        job_id=found.job_id,
        key_base64=None if source.key is None else b64encode(source.key[:MAX_KEY_BYTES]).decode(),
        key_bytes=len(source.key or b""),
        value_bytes=len(source.value or b""),
        headers=headers,
        headers_left_out=left_out,
        redrives=redrives_of(source.headers) if redrives is None else redrives,
        task_id=found.task_id,
        pool=found.pool,
        tenant=found.tenant,
        workflow=found.workflow,
        attempts=tuple(_note(note) for note in attempts[-10:]),
    )
    return letter if source.value is None else _with_value(letter, source.value, max_bytes)


def task_letter(
    task: Task,
    *,
    written: Record,
    found: Source | None,
    reason: str,
    message: str,
    attempts: Sequence[AttemptNote],
    at_ms: int,
    by: str,
    redrives: int = 0,
    max_bytes: int = MAX_LETTER_BYTES,
) -> DeadLetter:
    """Return the dead letter of a task that failed for good: the task as it was last dispatched, and what was tried.

    Args:
        written: the task's record as it went to its topic.
        found: the result after which nothing more was tried; None where the orchestrator found out by itself.
        reason: ``exhausted`` or ``quarantined``.
        redrives: how often it was sent back already.
    """
    place = (found.topic, found.partition, found.offset) if found else (written.topic, -1, NO_OFFSET)
    return dead_letter(
        Source(*place, written.key, written.value, tuple(written.headers)),
        reason=reason,
        message=message,
        at_ms=at_ms,
        by=by,
        whose=Whose(task.job_id, task.task_id, task.pool, task.tenant, task.workflow),
        errors=[f"attempt {note.attempt}: {note.kind.value}: {note.message}" for note in reversed(attempts)],
        attempts=attempts,
        redrives=redrives,
        max_bytes=max_bytes,
    )


def task_headers(task: Task) -> list[tuple[str, bytes]]:
    """Return the headers of a task: schema, and what a worker must know that cannot read its value."""
    return [
        *_TASK_SCHEMA,
        (JOB_HEADER, task.job_id.encode()),
        (TASK_HEADER, task.task_id.encode()),
        (ATTEMPT_HEADER, b"%d" % task.attempt),
        (REPLY_HEADER, b"%d" % task.reply_partition),
    ]


_TASK_SCHEMA = schema_headers(Task)


def letter_record(letter: DeadLetter, topic: str) -> Record:
    """Return a letter as a record, under the original key (cut where that is long)."""
    key = None if letter.key_base64 is None else b64decode(letter.key_base64)
    headers = schema_headers(DeadLetter)
    if letter.job_id is not None:
        headers.append((JOB_HEADER, letter.job_id.encode()))
    return Record(topic, key, encode(letter), None, headers)


def redrives_of(headers: RawHeaders | None) -> int:
    """Return how often a record was sent back from the dead letters, by its header."""
    return whole_number(header_map(headers).get(REDRIVES_HEADER, "")) or 0


def chain(error: BaseException) -> tuple[str, ...]:
    """Return an error and its causes, the outermost first."""
    found: list[str] = []
    at: BaseException | None = error
    while at is not None and len(found) < 10:
        found.append(f"{type(at).__name__}: {at}"[:1_000])
        at = at.__cause__ or at.__context__
    return tuple(found)


# ── Whose it is ──────────────────────────────────────────────────────────────────────────────────────────────────


def whose_is(source: Source, known: Whose) -> Whose:
    """Return whose a record is: what is known, then its headers, then its value, then its key.

    Only what has the shape of an id or a name counts, so that garbage does not pose as one.
    """
    headers, plain = header_map(source.headers), _glance(source.value)
    key = (source.key or b"")[:MAX_KEY_BYTES].decode("utf-8", "replace")
    task_id = known.task_id or _first_task(headers.get(TASK_HEADER), plain.get("task_id"), key)
    of_task = TaskId.parse(task_id).job_id if task_id else None
    return Whose(
        job_id=known.job_id or _first_job(headers.get(JOB_HEADER), plain.get("job_id"), of_task, key),
        task_id=task_id,
        pool=known.pool or _name(plain.get("pool")),
        tenant=known.tenant or _name(plain.get("tenant")),
        workflow=known.workflow or _workflow(plain.get("workflow")),
    )


def _glance(value: bytes | None) -> dict[str, Any]:
    """Return a value's fields as far as it is a JSON object, whatever else is wrong with it."""
    if value is None or len(value) > GLANCE_BYTES:
        return {}
    try:
        plain = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _first_job(*candidates: Any) -> str | None:
    return next((one for one in candidates if isinstance(one, str) and JOB_ID.fullmatch(one)), None)


def _first_task(*candidates: Any) -> str | None:
    for one in candidates:
        try:
            if isinstance(one, str):
                return str(TaskId.parse(one))
        except DecodeError:
            continue
    return None


def _name(value: Any) -> str | None:
    return _text(value, MAX_NAME) if isinstance(value, str) and value else None


def _workflow(value: Any) -> str | None:
    if isinstance(value, dict):
        name, version = value.get("name"), value.get("version")
        if not (isinstance(name, str) and isinstance(version, int | str)):
            return None
        return _text(f"{name[:MAX_NAME]}@{version}", MAX_NAME)
    return _name(value)


# ── What fits ────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_value(letter: DeadLetter, value: bytes, max_bytes: int) -> DeadLetter:
    """Return the letter with as much of the value as there is room for."""
    record = letter_record(letter, "")
    taken = len(record.key or b"") + len(record.value or b"") + sum(len(n) + len(v) + 8 for n, v in record.headers)
    room = max(0, max_bytes - taken - 64) // 4 * 3
    return letter.model_copy(update={"value_base64": b64encode(value[:room]).decode()})


def _kept_headers(headers: Sequence[tuple[str, bytes | str | None]]) -> tuple[tuple[tuple[str, str], ...], int]:
    """Return the first headers in base64, as many as fit, and how many do not."""
    kept: list[tuple[str, str]] = []
    room = MAX_HEADER_BYTES
    for name, value in headers:
        content = value.encode() if isinstance(value, str) else value or b""
        room -= len(name.encode("utf-8", "replace")) + len(content) + 16
        if room < 0:
            break
        kept.append((_text(name, MAX_HEADER_BYTES), b64encode(content).decode()))
    return tuple(kept), len(headers) - len(kept)


def _note(note: AttemptNote) -> AttemptNote:
    return note.model_copy(
        update={
            "message": _text(note.message, MAX_NAME),
            "pool": _text(note.pool, MAX_NAME),
            "worker": _text(note.worker, MAX_NAME),
        }
    )


def _text(text: str, most: int) -> str:
    """Return a text that can be written: Unicode, and not too long."""
    return text[:most].encode("utf-8", "replace").decode()

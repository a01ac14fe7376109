"""Dead letters: the record as it was, where it lay, and why it was set aside."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from headrace.orchestrator.core.effects import SetTaskAside
from headrace.schemas.codec import REDRIVES_HEADER, Record
from headrace.schemas.messages import DeadLetter, Origin

MAX_VALUE_BYTES = 600_000
"""A value above this is cut: base64 makes it 800,000 bytes, and key, headers and reason need room within 1,000,000."""
MAX_HEADER_BYTES = 32_768
MAX_KEY_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Source:
    """A record that was read, as far as a dead letter needs it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | str | None], ...] = ()


def dead_letter(
    source: Source,
    *,
    reason: str,
    message: str,
    at_ms: int,
    by: str,
    job_id: str | None = None,
    errors: tuple[str, ...] = (),
) -> DeadLetter:
    """Return the dead letter of a record.

    Args:
        source: the record.
        reason: a short name, such as ``invalid_json``.
        message: what is wrong and what to do about it.
        by: the process that sets it aside.
        errors: the chain of causes, outermost first.
    """
    value = source.value
    return DeadLetter(
        reason=reason,
        message=message[:4_000],
        errors=tuple(text[:1_000] for text in errors[:10]),
        origin=Origin(topic=source.topic, partition=source.partition, offset=source.offset),
        at_ms=at_ms,
        by=by,
        job_id=job_id,
        key_base64=None if source.key is None else b64encode(source.key[:MAX_KEY_BYTES]).decode(),
        value_base64=None if value is None else b64encode(value[:MAX_VALUE_BYTES]).decode(),
        value_bytes=len(value or b""),
        headers=_headers(source),
        redrives=_redrives(source),
    )


def task_letter(effect: SetTaskAside, *, written: Record, found: Source | None, at_ms: int, by: str) -> DeadLetter:
    """Return the dead letter of a task that failed for good: the task as it was last dispatched, and what was tried.

    Args:
        written: the task's record as it went to its topic.
        found: the result after which nothing more was tried; None where the orchestrator found out by itself.
    """
    task = effect.task
    place = (found.topic, found.partition, found.offset) if found else (written.topic, -1, -1)
    source = Source(*place, written.key, written.value, tuple(written.headers))
    letter = dead_letter(
        source, reason=effect.reason, message=effect.message, at_ms=at_ms, by=by, job_id=task.job_id,
        errors=tuple(f"attempt {note.attempt}: {note.kind.value}: {note.message}" for note in effect.history[::-1]),
    )  # fmt: skip
    about = {"task_id": task.task_id, "pool": task.pool, "tenant": task.tenant, "workflow": task.workflow}
    return letter.model_copy(update={**about, "attempts": effect.history})


def _headers(source: Source) -> tuple[tuple[str, str], ...]:
    """Return the headers in base64, as many as fit."""
    kept, room = [], MAX_HEADER_BYTES
    for name, value in source.headers:
        content = value.encode() if isinstance(value, str) else value or b""
        room -= len(name) + len(content)
        if room < 0:
            break
        kept.append((name, b64encode(content).decode()))
    return tuple(kept)


def _redrives(source: Source) -> int:
    for name, value in source.headers:
        if name.lower() == REDRIVES_HEADER and value is not None and value.isdigit():
            return int(value)
    return 0


def chain(error: BaseException) -> tuple[str, ...]:
    """Return an error and its causes, the outermost first."""
    found: list[str] = []
    at: BaseException | None = error
    while at is not None and len(found) < 10:
        found.append(f"{type(at).__name__}: {at}"[:1_000])
        at = at.__cause__ or at.__context__
    return tuple(found)

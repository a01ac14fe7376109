"""Records that could not be read or done, and what became of them."""

from __future__ import annotations

from typing import Literal

from headrace.schemas.base import Message
from headrace.schemas.errors import ErrorKind


class Origin(Message):
    """Where a record came from."""

    topic: str
    """Topic."""
    partition: int
    """Partition."""
    offset: int
    """Offset."""


class AttemptNote(Message):
    """One attempt of a task that failed."""

    attempt: int
    """Which attempt, from 1."""
    kind: ErrorKind
    """Why it failed."""
    message: str = ""
    """For people; at most 200 characters."""
    at_ms: int = 0
    """When its failure was read."""
    pool: str = ""
    """The pool that worked on it."""
    worker: str = ""
    """The worker that worked on it."""


class DeadLetter(Message):
    """A record that could not be read or done, with its cause, on ``dead-letters``."""

    reason: str
    """A short name: ``invalid_json``, ``unknown_field``, ``job_conflict``, ``unknown_task``, …"""
    message: str
    """What is wrong and what to do about it."""
    errors: tuple[str, ...] = ()
    """The chain of causes, outermost first."""
    origin: Origin
    """Where the record was read."""
    at_ms: int
    """When it was set aside."""
    by: str
    """The process that set it aside."""
    job_id: str | None = None
    """The job, where it is known."""
    key_base64: str | None = None
    """The record's key, as it was (cut where it is long; ``key_bytes`` has the true size)."""
    key_bytes: int = 0
    """The size of the key."""
    value_base64: str | None = None
    """The record's value, as it was (cut so that the letter fits; ``value_bytes`` has the true size)."""
    value_bytes: int = 0
    """The size of the value."""
    headers: tuple[tuple[str, str], ...] = ()
    """The record's headers, values in base64."""
    headers_left_out: int = 0
    """How many headers did not fit."""
    redrives: int = 0
    """How often it was sent back already."""
    task_id: str | None = None
    """The task, where it is known."""
    pool: str | None = None
    """The pool, where it is known."""
    tenant: str | None = None
    """Whose job it was, where it is known."""
    workflow: str | None = None
    """``name@version``, where it is known."""
    attempts: tuple[AttemptNote, ...] = ()
    """What was tried, the first first (the last ten)."""


class Resolution(Message):
    """What became of a dead letter, on ``dead-letters`` too: it is not listed any more."""

    origin: Origin
    """The origin of the letter that this answers."""
    letter: str = ""
    """The letter, ``partition:offset`` on ``dead-letters``: what counts where its origin has no offset."""
    action: Literal["dropped", "redriven"]
    """What was done."""
    at_ms: int
    """When."""
    by: str
    """The process that did it."""
    to: str = ""
    """Where it was sent: ``topic[partition]@offset``."""

"""What a redrive sends: a dead letter's record back to where it came from, or why it cannot go. Asks no Kafka.

A record of ``jobs`` goes to its job's home, one of ``results`` to the partition where it lay, a task by its key, an
order back to ``control``. A task that failed for good becomes a submission ``redrive``, which its job decides about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from headrace.console.letter_checks import Kind, check_value
from headrace.console.letter_edit import NO_EDIT, Edit
from headrace.console.letter_view import decoded
from headrace.schemas.codec import (
    FORWARDED_HEADER,
    REDRIVES_HEADER,
    SCHEMA_HEADER,
    UNREADABLE_HEADERS,
    VERSION_HEADER,
    Headers,
    Record,
    encode,
    schema_headers,
)
from headrace.schemas.errors import HeadraceError
from headrace.schemas.ids import JOB_ID, TASK_ID, home_partition
from headrace.schemas.messages import Control, DeadLetter, Redrive, Result, Sensitivity, Submission, Task
from headrace.schemas.pools import PoolsFile
from headrace.schemas.topics import Topics

EXHAUSTED = ("exhausted", "quarantined")
"""Reasons of letters about tasks that failed for good: their value is the task as it was last dispatched."""
_NOT_SENT = (REDRIVES_HEADER, FORWARDED_HEADER, UNREADABLE_HEADERS, "x-submitted-at-ms")
"""Headers of the way that the record came; it goes a new one."""


class Refused(HeadraceError):
    """A letter that is not sent back, and why."""


class Invalid(HeadraceError):
    """An edited value that breaks the contract: nothing is sent, of any letter."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A record on its way back."""

    record: Record
    job_id: str | None
    """The job that it is about, where that is known."""
    needs_job: bool
    """Whether it is for nothing where no such job runs."""


@dataclass(frozen=True, slots=True)
class Redriver:
    """Makes records of letters.

    Args:
        partitions: count of ``jobs`` and its companions.
        pools: the pools file; only asked for where another pool is wanted or a task is edited.
        pool: another pool for tasks.
        edit: what is changed on the way.
        max_redrives: how often a record may have been sent back before.
        force: send it even so.
    """

    topics: Topics
    partitions: int
    pools: PoolsFile
    pool: str | None = None
    edit: Edit = NO_EDIT
    max_redrives: int = 3
    force: bool = False

    def record(self, letter: DeadLetter) -> Sending:
        """Return what is to be sent for a letter.

        Args:
            letter: with its value.

        Raises:
            Refused: it cannot be sent back.
            Invalid: it would break the contract, by an edit.
        """
        kind, target = self._kind(letter)
        if letter.redrives >= self.max_redrives and not self.force:
            raise Refused(f"was sent back {letter.redrives} times already", "find the cause first; --force sends it")
        self._check_whole(letter, kind)
        if self.pool is not None and kind not in (Kind.TASK, Kind.EXHAUSTED):
            raise Refused("is no task: --to-pool does not apply")
        if kind in (Kind.JOB, Kind.RESULT) and not 0 <= letter.origin.partition < self.partitions:
            raise Refused(f"lay on partition {letter.origin.partition}, which is not there")
        if kind is Kind.EXHAUSTED:
            return self._submission(letter)
        return self._as_it_was(letter, kind, target)

    def _kind(self, letter: DeadLetter) -> tuple[Kind, str | None]:
        """Return what the record was, and the pool of a task."""
        topic = letter.origin.topic
        if letter.reason in EXHAUSTED and TASK_ID.fullmatch(letter.task_id or ""):
            return Kind.EXHAUSTED, letter.pool
        if found := self.topics.task_topic(topic):
            return Kind.TASK, found[0]
        kinds = {self.topics.jobs: Kind.JOB, self.topics.results: Kind.RESULT, self.topics.control: Kind.ORDER}
        if topic not in kinds:
            why = "its job has ended for that" if topic == self.topics.state else "nobody would act on it"
            raise Refused(f"lay on {topic[:200]}: a record of that topic cannot be sent back ({why})")
        return kinds[topic], None

    def _check_whole(self, letter: DeadLetter, kind: Kind) -> None:
        """A record that was cut is another record."""
        kept = len(decoded(letter.value_base64) or b"")
        if letter.value_bytes > kept and self.edit.value is None and kind is not Kind.EXHAUSTED:
            raise Refused(
                f"has {letter.value_bytes:,} bytes, of which {kept:,} were kept", "--value FILE sends the whole of it"
            )
        if letter.key_bytes > len(decoded(letter.key_base64) or b""):
            raise Refused(f"has a key of {letter.key_bytes:,} bytes, of which only a part was kept")
        if letter.headers_left_out and kind is not Kind.EXHAUSTED:
            raise Refused(f"has {letter.headers_left_out} headers that were not kept")

    # ── Back to where it came from ───────────────────────────────────────────────────────────────────────────────

    def _as_it_was(self, letter: DeadLetter, kind: Kind, pool: str | None) -> Sending:
        before = decoded(letter.value_base64)
        key = decoded(letter.key_base64)
        value = self._moved(before, pool) if self.pool is not None else before
        value = self.edit.apply(value)
        edited = self.pool is not None or not self.edit.is_empty
        headers = self._headers(letter, kind, edited=edited)
        topic, target = letter.origin.topic, pool
        if kind is Kind.TASK and self.pool is not None and pool is not None:
            target, (_, lane) = self.pool, self.topics.task_topic(topic) or (pool, None)
            topic = self.topics.tasks(target, lane) if lane else topic
            self._check_pool(target, before, value)
        if edited:
            key = _key_of(kind, key, value)
            problems = check_value(kind, key, value, headers, pool=target or "", partitions=self.partitions)
            if problems:
                raise Invalid("; ".join(problems))
        job_id = _job_of(kind, letter, key, value)
        partition = self._partition(kind, letter, job_id)
        return Sending(
            Record(topic, key, value, partition, headers), job_id, needs_job=kind in (Kind.TASK, Kind.RESULT)
        )

    def _partition(self, kind: Kind, letter: DeadLetter, job_id: str | None) -> int | None:
        match kind:
            case Kind.JOB:
                return home_partition(job_id, self.partitions) if job_id else letter.origin.partition
            case Kind.RESULT:
                return letter.origin.partition
            case Kind.ORDER:
                return 0
            case _:
                return None  # By its key, as it was dispatched.

    def _headers(self, letter: DeadLetter, kind: Kind, *, edited: bool) -> Headers:
        kept = [
            (name, decoded(value) or b"")
            for name, value in letter.headers
            if name.lower() not in _NOT_SENT and not (edited and name.lower() in (SCHEMA_HEADER, VERSION_HEADER))
        ]
        schema = schema_headers(_MODELS[kind]) if edited else []
        return [*schema, *kept, (REDRIVES_HEADER, b"%d" % (letter.redrives + 1))]

    def _moved(self, value: bytes | None, pool: str | None) -> bytes:
        """Return a task's value for another pool."""
        plain = _plain(value)
        if not plain or plain.get("pool", pool) != pool:
            raise Refused("cannot be read, so its pool cannot be replaced", "mend it with --value FILE or --edit")
        return json.dumps({**plain, "pool": self.pool}, ensure_ascii=False, separators=(",", ":")).encode()

    def _check_pool(self, pool: str, *values: bytes | None) -> None:
        """Nothing confidential reaches a pool of a public endpoint; what cannot be read may be confidential."""
        if pool not in self.pools.pools:
            raise Refused(f"unknown pool {pool[:80]!r} (known: {', '.join(self.pools.pools) or 'none'})")
        public = self.pools.endpoints[self.pools.pools[pool].endpoint].public
        if public and any(_sensitivity(value) is Sensitivity.CONFIDENTIAL for value in values):
            raise Refused(f"is confidential, and pool {pool!r} is public")

    # ── As an order to its job ───────────────────────────────────────────────────────────────────────────────────

    def _submission(self, letter: DeadLetter) -> Sending:
        """Return the submission that asks for another life of a task."""
        value = decoded(letter.value_base64)
        payload = self._payload(letter, value)
        assert letter.task_id is not None
        job_id = letter.task_id.partition("/")[0]
        order = Submission(type="redrive", job_id=job_id, name=letter.task_id, payload=payload or None)
        headers = [*schema_headers(Submission), (REDRIVES_HEADER, b"%d" % (letter.redrives + 1))]
        home = home_partition(job_id, self.partitions)
        record = Record(self.topics.jobs, job_id.encode(), encode(order), home, headers)
        return Sending(record, job_id, needs_job=True)

    def _payload(self, letter: DeadLetter, value: bytes | None) -> dict[str, Any]:
        """Return what takes the place of the task's own pool and prompt: only what differs."""
        own = _own_words(letter, value)
        plain: dict[str, Any] = {}
        if not self.edit.is_empty:
            content = self.edit.apply(json.dumps(own, ensure_ascii=False).encode())
            if problems := check_value(Kind.EXHAUSTED, None, content):
                raise Invalid("; ".join(problems))
            plain = json.loads(content or b"{}")
        if self.pool is not None:
            plain["pool"] = self.pool
        if plain.get("pool") not in (None, own.get("pool")):
            self._check_pool(plain["pool"], value)
        return {name: given for name, given in plain.items() if given is not None and given != own.get(name)}


_MODELS: dict[Kind, type[BaseModel]] = {
    Kind.JOB: Submission,
    Kind.RESULT: Result,
    Kind.TASK: Task,
    Kind.ORDER: Control,
    Kind.EXHAUSTED: Redrive,
}


def _own_words(letter: DeadLetter, value: bytes | None) -> dict[str, Any]:
    """Return a task's own pool and prompt, as an editor shows them.

    No prompt where it lies in the object store, or is an agent's conversation, which follows from its tasks.
    """
    try:
        task = Task.model_validate_json(value or b"")
    except ValueError:
        return {"pool": letter.pool}
    if task.call is None or task.call.tools:
        return {"pool": task.pool, "messages": None}
    return {
        "pool": task.pool,
        "messages": [message.model_dump(exclude_defaults=True) for message in task.call.messages],
    }


def _sensitivity(value: bytes | None) -> Sensitivity:
    """Return who may see a task; one that cannot be read may be anybody's."""
    plain = _plain(value)
    try:
        return Sensitivity(plain.get("sensitivity", Sensitivity.INTERNAL)) if plain else Sensitivity.CONFIDENTIAL
    except ValueError:
        return Sensitivity.CONFIDENTIAL


def _key_of(kind: Kind, key: bytes | None, value: bytes | None) -> bytes | None:
    """Return the key of an edited record: a submission under another id goes by that id."""
    named = _plain(value).get("job_id")
    return named.encode() if kind is Kind.JOB and isinstance(named, str) and JOB_ID.fullmatch(named) else key


def _plain(value: bytes | None) -> dict[str, Any]:
    """Return a value's fields, as far as it is a JSON object."""
    try:
        plain = json.loads(value or b"")
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _job_of(kind: Kind, letter: DeadLetter, key: bytes | None, value: bytes | None) -> str | None:
    """Return the job that a record is about. Of a submission: by the value, else the key, as its reader has it."""
    if kind is Kind.ORDER:
        return None
    named = _plain(value).get("job_id")
    keyed = (key or b"").decode("utf-8", "replace") if kind is not Kind.TASK else None
    found = next((one for one in (named, keyed) if isinstance(one, str) and JOB_ID.fullmatch(one)), None)
    return found or (None if kind is Kind.JOB else letter.job_id)

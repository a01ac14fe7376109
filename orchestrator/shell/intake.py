"""What records mean: `jobs` and `results` to events, by the id rules of the public contract."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from headrace.orchestrator.core.events import (
    CancelRequested,
    Event,
    JobRefused,
    JobSubmitted,
    Signalled,
    TaskFailed,
    TaskRedriven,
    TaskSucceeded,
)
from headrace.runtime.letters import GLANCE_BYTES, Source, redrives_of
from headrace.runtime.telemetry import trace_headers
from headrace.schemas.agreement import check_result
from headrace.schemas.codec import FORWARDED_HEADER, Record, canonical_json, decode, header_map, whole_number
from headrace.schemas.errors import ContractError, ErrorKind, UnknownSchemaVersion
from headrace.schemas.ids import assigned_job_id, check_job_id, home_partition, nested_job_id, session_of
from headrace.schemas.messages import Redrive, Result, Submission
from headrace.schemas.values import value_object

SUBMITTED_HEADER = "x-submitted-at-ms"
REFUSED_HEADER = "x-refused"
"""On a stub that goes home in place of a submission that is too large to be sent there: why it is refused."""
CONTENT_HEADER = "x-content-sha256"
COMMANDS = ("cancel", "signal", "redrive")
"""What is said about a job and is none itself: it has no outcome of its own, so what cannot be read is set aside."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
ROOM_BYTES = 8_192
"""What a forwarded record's key and headers may need beside its value."""


@value_object(frozen=True, slots=True)
class Arrived:
    """An event for a job of this partition."""

    job_id: str
    event: Event


@value_object(frozen=True, slots=True)
class Forward:
    """A record that belongs to another partition of ``jobs``."""

    record: Record


@value_object(frozen=True, slots=True)
class Aside:
    """A record for the dead letters."""

    reason: str
    message: str
    job_id: str | None = None


@value_object(frozen=True, slots=True)
class Mismatch:
    """A submission whose value and key name two jobs: refused if the value's is new, else a dead letter."""

    job_id: str
    event: JobRefused
    message: str


Meaning = Arrived | Forward | Aside | Mismatch


class Intake:
    """Reads records. Pure but for the jitter, which is drawn here because the core owns no randomness.

    Args:
        partitions: count of ``jobs`` and its companions.
        content_hash: of a submission, the core's.
        jitter: draws from [0, 1).
        max_bytes: what the ``jobs`` topic takes. Its own limit is on compressed batches, so larger ones can lie there;
            they are refused wherever they lie, since only some could be forwarded.
    """

    def __init__(
        self,
        *,
        partitions: int,
        content_hash: Callable[[Submission], str],
        jitter: Callable[[], float],
        max_bytes: int = 1_000_000,
    ) -> None:
        self._max_bytes = max_bytes - ROOM_BYTES
        self._partitions = partitions
        self._content_hash = content_hash
        self._jitter = jitter

    def result(self, source: Source) -> Arrived | Aside:
        """Read a record of ``results``."""
        headers = header_map(source.headers)
        try:
            result = check_result(decode(Result, source.value, headers), headers)
        except ContractError as error:
            return Aside(error.kind, _say(error))
        if result.failure is None:
            return Arrived(result.job_id, TaskSucceeded(result))
        return Arrived(result.job_id, TaskFailed(result, self._jitter()))

    def job(self, source: Source, at_ms: int) -> Meaning:
        """Read a record of ``jobs``.

        Args:
            source: the record.
            at_ms: its timestamp; a forwarded record brings that of the original in a header.
        """
        headers = header_map(source.headers)
        if FORWARDED_HEADER in headers and (first := whole_number(headers.get(SUBMITTED_HEADER, ""))) is not None:
            at_ms = min(first, at_ms)
        if FORWARDED_HEADER in headers and REFUSED_HEADER in headers:
            return self._refused_elsewhere(source, headers, at_ms)
        if len(source.value or b"") > self._max_bytes:
            return self._too_large(source, at_ms)
        try:
            submission = decode(Submission, source.value, headers)
        except UnknownSchemaVersion as error:
            return Aside(error.kind, _say(error))  # A newer orchestrator can read it: redrive, do not reject.
        except ContractError as error:
            return self._unreadable(source, headers, at_ms, error)
        return self._readable(source, headers, at_ms, submission)

    def _readable(self, source: Source, headers: dict[str, str], at_ms: int, submission: Submission) -> Meaning:
        key = source.key or None
        if submission.job_id is None and key is None and submission.type != "job":
            return Aside("missing_job_id", f"a {submission.type} needs a job_id, in the value or as the record's key")
        try:
            job_id = check_job_id(submission.job_id if submission.job_id is not None else self._id_of(source))
        except ContractError as error:
            return Aside(error.kind, _say(error))
        if (away := self._away(source, headers, at_ms, job_id)) is not None:
            return away
        if (
            submission.job_id is not None
            and key is not None
            and key != job_id.encode()
            and not _is_session(key, job_id)
        ):
            return self._mismatch(source, at_ms, submission, job_id)
        try:
            return Arrived(job_id, self._event(submission, headers, at_ms, job_id))
        except ContractError as error:
            return Aside("invalid_redrive", _say(error), job_id)
        except ValueError:
            message = "it has numbers that JSON lacks (NaN, Infinity)"
            if submission.type in COMMANDS:
                return Aside("invalid_shape", message, job_id)
            return Arrived(job_id, _refused(source, at_ms, message))

    def _event(self, submission: Submission, headers: dict[str, str], at_ms: int, job_id: str) -> Event:
        if submission.type == "cancel":
            return CancelRequested(at_ms)
        if submission.type == "signal":
            return Signalled(submission.name or "", submission.payload)
        if submission.type == "redrive":
            return _redrive(submission, redrives_of(headers.items()))
        if (parent := submission.parent) is not None and job_id != nested_job_id(parent.task_id, parent.attempt):
            message = "field 'parent' is Headrace's own: leave it out"
            return JobRefused(ErrorKind.INVALID_JOB, message, self._content_hash(submission), at_ms)
        return JobSubmitted(submission, self._content_hash(submission), at_ms, tuple(trace_headers(headers)))

    def _mismatch(self, source: Source, at_ms: int, submission: Submission, job_id: str) -> Meaning:
        key = (source.key or b"").decode("utf-8", "replace")[:200]
        message = f"the value names job {job_id!r} and the record's key {key!r}: make them equal, or leave one out"
        if submission.type != "job":
            return Aside("job_id_mismatch", message, job_id)
        return Mismatch(job_id, _refused(source, at_ms, message), message)

    def _unreadable(self, source: Source, headers: dict[str, str], at_ms: int, error: ContractError) -> Meaning:
        """Reject under the id that can still be made out; without one, and for a cancel or signal, set aside."""
        kind, value_id = _glance(source.value)
        if kind in COMMANDS:
            return Aside(error.kind, _say(error))
        try:
            job_id = check_job_id(value_id if value_id is not None else (source.key or b"").decode())
        except (ContractError, UnicodeDecodeError):
            return Aside(error.kind, _say(error))
        if (away := self._away(source, headers, at_ms, job_id)) is not None:
            return away
        return Arrived(job_id, _refused(source, at_ms, _say(error)))

    def _too_large(self, source: Source, at_ms: int) -> Meaning:
        """Refuse under the id, at home; a stub carries the refusal there."""
        kind, value_id = _glance(source.value)
        size = len(source.value or b"")
        message = f"the submission has {size:,} bytes, the limit is {self._max_bytes:,}: split it into several jobs"
        if kind in COMMANDS:
            return Aside("too_large", message)
        try:
            job_id = check_job_id(value_id if value_id is not None else self._id_of(source))
        except ContractError as error:
            return Aside(error.kind, _say(error))
        digest = sha256(source.value or b"").hexdigest()
        home = home_partition(job_id, self._partitions)
        if home == source.partition:
            return Arrived(job_id, JobRefused(ErrorKind.TOO_LARGE, message, digest, at_ms))
        headers = [
            (FORWARDED_HEADER, b"%d:%d" % (source.partition, source.offset)),
            (SUBMITTED_HEADER, b"%d" % at_ms),
            (REFUSED_HEADER, message.encode()),
            (CONTENT_HEADER, digest.encode()),
        ]
        return Forward(Record(source.topic, job_id.encode(), b"{}", home, headers))

    def _refused_elsewhere(self, source: Source, headers: dict[str, str], at_ms: int) -> Meaning:
        """Take the stub of a submission that was too large to be forwarded."""
        try:
            job_id = check_job_id((source.key or b"").decode())
        except (ContractError, UnicodeDecodeError):
            return Aside("invalid_job_id", "a refused submission came home without its id")
        if (away := self._away(source, headers, at_ms, job_id)) is not None:
            return away
        digest = headers.get(CONTENT_HEADER, "")
        if not _SHA256.fullmatch(digest):
            return Aside("invalid_stub", f"a refused submission came home without {CONTENT_HEADER}", job_id)
        refused = JobRefused(ErrorKind.TOO_LARGE, headers[REFUSED_HEADER][:2_000], digest, at_ms)
        return Arrived(job_id, refused)

    def _id_of(self, source: Source) -> str:
        """Return the id of a submission that names none in its value."""
        if not source.key:
            return assigned_job_id(source.partition, source.offset)
        return source.key.decode("utf-8", "replace")

    def _away(self, source: Source, headers: dict[str, str], at_ms: int, job_id: str) -> Forward | Aside | None:
        """Return what to do with a record that is not at home, or None where it is."""
        home = home_partition(job_id, self._partitions)
        if home == source.partition:
            return None
        if FORWARDED_HEADER in headers:
            return Aside("not_at_home", f"forwarded from {headers[FORWARDED_HEADER]}, yet its home is {home}", job_id)
        kept = [
            (name, value.encode() if isinstance(value, str) else value)
            for name, value in source.headers
            if value is not None and name.lower() != SUBMITTED_HEADER
        ]
        kept.append((FORWARDED_HEADER, b"%d:%d" % (source.partition, source.offset)))
        kept.append((SUBMITTED_HEADER, b"%d" % at_ms))
        return Forward(Record(source.topic, source.key or job_id.encode(), source.value, home, kept))


def _is_session(key: bytes, job_id: str) -> bool:
    """Return whether a record's key is that of its job's session: whoever wants turns in order keys them so."""
    session = session_of(job_id)
    return session is not None and key == session.encode()


def _redrive(submission: Submission, redrives: int) -> TaskRedriven:
    edit = decode(Redrive, canonical_json(submission.payload or {}))
    messages = None if edit.messages is None else tuple((each.role, each.content) for each in edit.messages)
    return TaskRedriven(submission.name or "", edit.pool, messages, max(1, redrives))


def _refused(source: Source, at_ms: int, message: str) -> JobRefused:
    return JobRefused(ErrorKind.INVALID_JOB, message, sha256(source.value or b"").hexdigest(), at_ms)


def _glance(value: bytes | None) -> tuple[str | None, str | None]:
    """Return type and job_id of a value that breaks the contract, where they can be made out."""
    if len(value or b"") > GLANCE_BYTES:
        return None, None
    try:
        plain: Any = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(plain, dict):
        return None, None
    kind, job_id = plain.get("type"), plain.get("job_id")
    return kind if isinstance(kind, str) else None, job_id if isinstance(job_id, str) else None


def _say(error: ContractError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message

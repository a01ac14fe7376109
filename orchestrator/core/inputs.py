"""The input of a submission, whichever way it came: inline, or as a claim check of its JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Never

from headrace.orchestrator.core.acceptance import hash_of_parts
from headrace.orchestrator.core.events import JobRefused, JobSubmitted
from headrace.orchestrator.core.payloads import PayloadLost
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, ObjectRef, Submission


@dataclass(frozen=True, slots=True)
class GivenInput:
    """An input that could be read."""

    value: dict[str, Any]
    """Not yet checked against the workflow's schema."""
    content_hash: str | None = None
    """The submission's content hash, where the input had to be read to know it."""


def read_input(turn: Turn, submission: Submission) -> GivenInput | Failure:
    """Return the input, or why it cannot be had.

    Raises:
        DependencyUnavailable: the object store does not answer: decide again later.
    """
    ref = submission.input_ref
    if ref is None:
        return GivenInput(submission.input)
    if not turn.environment.objects:
        message = "an input by reference needs an object store: install the extra `objects` on every orchestrator"
        return Failure(kind=ErrorKind.INVALID_JOB, message=message)
    most = turn.environment.limits.max_job_bytes
    if ref.size_bytes > most:
        message = f"the input has {ref.size_bytes:,} bytes; the limit is {most:,}"
        return Failure(kind=ErrorKind.TOO_LARGE, message=message)
    try:
        value = _object(turn.load(ref), ref)
    except PayloadLost as error:
        return Failure(kind=error.kind, message=f"the input: {error.message}")
    except ValueError as error:
        return Failure(kind=ErrorKind.INVALID_INPUT, message=str(error))
    if submission.items is not None and "items" in value:
        message = "the items are given twice, in the input's own field and by reference in items: leave one out"
        return Failure(kind=ErrorKind.INVALID_INPUT, message=message)
    return GivenInput(value, _hash(submission, value))


def is_same(turn: Turn, event: JobSubmitted | JobRefused, content_hash: str) -> bool:
    """Return whether a submission is a repetition of the one with this content hash.

    An input by reference that is not canonical JSON is read to tell; one that Headrace wrote never is.
    """
    if event.content_hash == content_hash:
        return True
    if not isinstance(event, JobSubmitted) or event.submission.input_ref is None:
        return False
    given = read_input(turn, event.submission)
    return isinstance(given, GivenInput) and given.content_hash == content_hash


def _object(data: bytes, ref: ObjectRef) -> dict[str, Any]:
    """Read the JSON of an input. Raises ValueError that says what is wrong."""
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"the input ({ref.key}) nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"the input ({ref.key}) is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise ValueError(f"the input ({ref.key}) is a {type(value).__name__}, and a JSON object is needed")
    return value


def _hash(submission: Submission, value: dict[str, Any]) -> str | None:
    """Return the content hash, or None of what cannot be hashed: admission says why it is refused."""
    try:
        digest = sha256(canonical_json(value)).hexdigest()
    except (ValueError, RecursionError):
        return None
    return hash_of_parts(submission.workflow, digest, submission.items)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")

"""Between messages and records: JSON values, schema and version in headers, CloudEvents names where others read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from headrace.schemas.errors import DecodeError, UnknownSchemaVersion
from headrace.schemas.messages import (
    Attempt,
    Control,
    DeadLetter,
    Event,
    Outcome,
    Redrive,
    Resolution,
    Result,
    Submission,
    Task,
)

SCHEMA_HEADER = "x-schema"
VERSION_HEADER = "x-schema-version"
JOB_HEADER = "x-job-id"
TASK_HEADER = "x-task-id"
ATTEMPT_HEADER = "x-attempt"
REPLY_HEADER = "x-reply-partition"
FORWARDED_HEADER = "x-forwarded-from"
REPEAT_HEADER = "x-repeat"
REDRIVES_HEADER = "x-redrives"
"""How often a record was sent back from the dead letters: the guard against a loop."""
UNREADABLE_HEADERS = "x-unreadable-headers"
"""Stands in for the headers of a record that a client cannot read (`runtime.kafka.headers_of`)."""
TRACE_HEADERS = ("traceparent", "tracestate")

MAX_VALUE_BYTES = 16_777_216
"""A larger value is not parsed: no topic of ours takes one, but a compressed batch can hold it."""

SCHEMA_VERSION = 1
SCHEMAS: dict[str, type[BaseModel]] = {
    "job": Submission,
    "task": Task,
    "result": Result,
    "outcome": Outcome,
    "event": Event,
    "attempt": Attempt,
    "control": Control,
    "dead-letter": DeadLetter,
    "resolution": Resolution,
    "redrive": Redrive,
}
NAMES: dict[type[BaseModel], str] = {model: name for name, model in SCHEMAS.items()}

Headers = list[tuple[str, bytes]]
RawHeaders = Iterable[tuple[str, bytes | str | None]]
"""Headers as a client hands them out."""
M = TypeVar("M", bound=BaseModel)


class Record(NamedTuple):
    """A record to be produced. ``value`` None is a tombstone; ``partition`` None leaves it to the key.

    A tuple, since several are made for every task: a frozen dataclass takes three times as long to make.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = []  # noqa: RUF012 - shared, and never changed by anyone
    ref: Any = None
    """Something of the writer's own that is given back with the record's place, where it wants to know it."""


def encode(message: BaseModel) -> bytes:
    """Return the message as compact JSON; fields at their defaults are left out."""
    return message.__pydantic_serializer__.to_json(message, exclude_defaults=True)


def schema_headers(model: type[BaseModel]) -> Headers:
    """Return the headers that name a message's schema and version."""
    return [(SCHEMA_HEADER, NAMES[model].encode()), (VERSION_HEADER, b"%d" % SCHEMA_VERSION)]


def cloud_event_headers(*, ce_id: str, ce_type: str, source: str, at_ms: int) -> Headers:
    """Return the headers of a CloudEvent in Kafka's binary mode (CloudEvents 1.0, Kafka binding, section 3.2)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", ce_id.encode()),
        ("ce_type", ce_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", _ce_time(at_ms)),
        ("content-type", b"application/json"),
    ]


@lru_cache(maxsize=64)  # What happens within a batch happens within a few milliseconds.
def _ce_time(at_ms: int) -> bytes:
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z").encode()


def header_map(headers: RawHeaders | None) -> dict[str, str]:
    """Return headers by lower-case name, the last of a name counting; values that are not UTF-8 are left out."""
    try:
        return {name.lower(): value.decode() for name, value in headers or ()}  # type: ignore[union-attr]
    except (AttributeError, UnicodeDecodeError):  # As ours never are.
        return _header_map(headers or ())


def _header_map(headers: RawHeaders) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        if value is None:
            continue
        try:
            found[name.lower()] = value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            continue
    return found


_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")


def whole_number(text: str) -> int | None:
    """Return a whole number that a header or an id spells, or None: ASCII digits only, none in front, within 64 bits.

    ``int`` takes more (``²`` is a digit to `str.isdigit`, five thousand nines are no `int` at all), and raises.
    """
    return int(text) if _WHOLE.fullmatch(text) else None


def decode(
    model: type[M],
    value: bytes | None,
    headers: Mapping[str, str] | None = None,
    *,
    max_bytes: int = MAX_VALUE_BYTES,
) -> M:
    """Read one message.

    Args:
        model: the message expected on this topic.
        value: the record's value.
        headers: as `header_map` gives them; a version above ours is refused before the value is looked at.
        max_bytes: a larger value is not looked at.

    Raises:
        UnknownSchemaVersion: the record was written by a newer Headrace.
        DecodeError: no value, not UTF-8, not JSON, or of another shape; the message names each field.
    """
    if headers:
        _check_schema(NAMES[model], headers)
    if value is None:
        raise DecodeError("the record has no value", "write the message as JSON", kind="no_value")
    if len(value) > max_bytes:
        raise DecodeError(f"the value has {len(value):,} bytes, the limit is {max_bytes:,}", kind="too_large")
    try:
        return model.__pydantic_validator__.validate_json(value)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise _explain(model, error) from None


def _check_schema(expected: str, headers: Mapping[str, str]) -> None:
    name, version = headers.get(SCHEMA_HEADER), headers.get(VERSION_HEADER)
    if UNREADABLE_HEADERS in headers:
        raise DecodeError("a header's name is not UTF-8", "write header names in UTF-8", kind="unreadable_headers")
    if name is not None and name != expected:
        raise DecodeError(f"schema {name[:60]!r} where {expected!r} is read", kind="wrong_schema")
    if version is not None and version != str(SCHEMA_VERSION):
        if not whole_number(version):
            raise DecodeError(f"schema version {version[:20]!r} is not a whole number", kind="wrong_schema")
        raise UnknownSchemaVersion(
            f"{expected} version {version} was written by a newer Headrace; this one reads {SCHEMA_VERSION}",
            "upgrade this process, then redrive the record",
            kind="unknown_version",
        )


def _explain(model: type[BaseModel], error: ValidationError) -> DecodeError:
    """Turn pydantic's findings into one sentence a field, with a suggestion where a name is near."""
    parts, kind = [], "invalid_shape"
    for finding in error.errors(include_url=False, include_input=False)[:10]:
        if finding["type"] == "json_invalid":
            return DecodeError(f"not JSON: {finding['msg']}", "write one JSON object, in UTF-8", kind="invalid_json")
        place = ".".join(str(part) for part in finding["loc"]) or "value"
        if finding["type"] == "extra_forbidden":
            kind = "unknown_field"
            parts.append(f"unknown field {place!r}{_suggest(model, str(finding['loc'][-1]))}")
        else:
            parts.append(f"{place}: {finding['msg']}")
    return DecodeError("; ".join(parts), "see schemas/json/ for the contract", kind=kind)


def _suggest(model: type[BaseModel], name: str) -> str:
    names = list(model.model_fields)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(names)})"


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: keys sorted, no white space, UTF-8. Hashes are taken of this."""
    return _canonical(value).encode()


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""`json.dumps` makes an encoder for each call."""

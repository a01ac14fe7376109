"""JSON Schemas: compiled once, checked with bounds. Pure: a schema can fetch nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs

from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import HeadraceError
from headrace.schemas.schema_cost import TooCostly, check_references, evaluations, first_findings

MAX_SCHEMA_BYTES = 262_144
MAX_FINDINGS = 10


class SchemaInvalid(HeadraceError):
    """A JSON Schema that does not hold."""


def check_schema(schema: dict[str, Any]) -> None:
    """Check that a schema is one.

    Raises:
        SchemaInvalid: it is not valid, too large, or refers to something outside itself.
    """
    _validator(schema)


def findings(schema: dict[str, Any], value: Any, *, apart_from: str | None = None) -> tuple[str, ...]:
    """Return what is wrong with a value, each with its path, at most `MAX_FINDINGS`; empty where it fits.

    Args:
        apart_from: a field of the value that lies elsewhere: taken as given, and not looked at.

    Raises:
        SchemaInvalid: the schema itself does not hold.
    """
    if not schema:
        return ()
    if apart_from is not None:
        value = {**value, apart_from: []}
    checked = _validator(schema)
    try:
        count = evaluations(checked.schema, value)
    except TooCostly as error:
        return (f"it cannot be checked: {error}",)
    if checked.validator.is_valid(value):
        return ()
    found = (
        error
        for error in first_findings(checked.validator, value, text=checked.text, count=count)
        if apart_from is None or error.instance_path[:1] != [apart_from]
    )
    return tuple(_first(found)) or (
        () if apart_from is not None else ("where it does not fit is not listed, since it is large",)
    )


def _first(errors: Iterator[Any]) -> Iterator[str]:
    for number, error in enumerate(errors):
        if number == MAX_FINDINGS:
            yield "and more"
            return
        path = ".".join(str(part) for part in error.instance_path)
        yield f"{path}: {_shorten(error.message)}" if path else _shorten(error.message)


def _shorten(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:80]} … {message[-100:]}"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A schema that holds."""

    validator: Any
    schema: Any
    text: bytes


def _validator(schema: dict[str, Any]) -> _Checked:
    try:
        text = canonical_json(schema)
    except (ValueError, TypeError, RecursionError) as error:
        raise SchemaInvalid(f"it is not JSON: {error}"[:200]) from None
    if len(text) > MAX_SCHEMA_BYTES:
        raise SchemaInvalid(f"it has {len(text):,} bytes; the limit is {MAX_SCHEMA_BYTES:,}")
    return _compiled(text)


@lru_cache(maxsize=512)
def _compiled(text: bytes) -> _Checked:
    schema = json.loads(text)
    try:
        jsonschema_rs.meta.validate(schema)
        check_references(schema)
        validator = jsonschema_rs.validator_for(
            schema,
            retriever=_refuse,
            mask="the value",  # Messages travel further than payloads may.
            # Linear in the text, as workers have it: with backtracking, a look-ahead within a repetition takes
            # minutes for a hundred kilobytes, whatever its limit (measured).
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=1_000_000),
        )
        return _Checked(validator, schema, text)
    except jsonschema_rs.ValidationError as error:
        path = ".".join(str(part) for part in error.instance_path)
        raise SchemaInvalid(f"{path}: {_shorten(error.message)}" if path else _shorten(error.message)) from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise SchemaInvalid(str(error)[:300]) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri}: a schema may refer to itself only")

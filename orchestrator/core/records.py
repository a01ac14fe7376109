"""Records of a text: JSON Lines, or CSV with a header. Pure."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from headrace.schemas.errors import ErrorKind, HeadraceError


class SplitError(HeadraceError):
    """A text that cannot be cut as the step asks."""

    kind: ErrorKind = ErrorKind.INVALID_INPUT


def read_records(text: str, *, format: str = "auto") -> list[dict[str, Any]]:
    """Return the records of a text, each an object.

    Args:
        text: the records; a byte order mark and empty lines are passed over.
        format: ``jsonl``, ``csv``, or ``auto``: JSON Lines where the text begins with a brace.

    Raises:
        SplitError: a record cannot be read; the message has its line.
    """
    text = text.removeprefix("\ufeff")
    if format == "jsonl" or (format == "auto" and text.lstrip().startswith("{")):
        return _json_lines(text)
    return _csv(text)


def _json_lines(text: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            records.append(_json_line(line, number))
    return records


def _json_line(line: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SplitError(f"line {number} is not JSON: {str(error)[:100]}") from None
    if not isinstance(record, dict):
        raise SplitError(f"line {number} is not a JSON object")
    return record


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _csv(text: str) -> list[dict[str, Any]]:
    """Every value is a text: CSV has no types, and guessing them would make ``007`` a number."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise SplitError(f"line {reader.line_num} is not CSV: {error}") from None
    if not rows:
        return []
    header = rows[0][1]
    if twice := [name for at, name in enumerate(header) if name in header[:at]]:
        raise SplitError(f"the CSV header names column {twice[0][:60]!r} twice")
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise SplitError(f"line {number} has {len(row)} fields where the header has {len(header)}")
    return [dict(zip(header, row, strict=True)) for _, row in rows[1:]]

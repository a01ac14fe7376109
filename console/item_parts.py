"""Items on their way into the object store: lines, checked one by one and cut into parts. One part is in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headrace.orchestrator.core.item_lines import read_item
from headrace.orchestrator.core.payloads import ItemBroken
from headrace.schemas.errors import ConfigError
from headrace.schemas.submission import MAX_ITEMS, MAX_JOB_BYTES, MAX_PART_BYTES, MAX_PARTS

PART_BYTES = 1_000_000
"""An orchestrator reads a part as a whole: large enough to be few, small enough to be nothing in memory."""
MAX_LINE_BYTES = MAX_JOB_BYTES
MAX_BAD_LINES = 10
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines, each with its line break."""

    data: bytes
    items: int
    """How many lines."""


class BadLines(ConfigError):
    """Lines that are no items; the first ten, each with its number."""


def lines_of(stream: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a stream with their numbers, from 1; empty ones and white space around are left out.

    Raises:
        BadLines: a line is too long to be read.
    """
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line) > MAX_LINE_BYTES + 1:
            raise BadLines(f"{name}: line {number:,} has more than {MAX_LINE_BYTES:,} bytes", "is it JSON Lines?")
        line = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if line:
            yield number, line


def lines_from(items: Iterable[Any]) -> Iterator[tuple[int, bytes]]:
    """Yield values as lines of JSON, with their numbers.

    Raises:
        BadLines: a value is no JSON.
    """
    for number, item in enumerate(items, 1):
        try:
            yield number, json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise BadLines(f"item {number:,} is not JSON: {str(error)[:200]}") from None


def cut(lines: Iterable[tuple[int, bytes]], name: str, *, part_bytes: int = PART_BYTES) -> Iterator[Part]:
    """Yield parts of about the given size, none cut within a line. The same lines give the same parts.

    Every line is checked as an orchestrator will read it. After the first bad one nothing more is yielded, and the rest
    is read only to name the others.

    Args:
        lines: with their numbers.
        name: of the file, for messages.
        part_bytes: a line above it makes a part of its own.

    Raises:
        BadLines: lines that are no JSON.
        ConfigError: no lines at all, or more than a job may have.
    """
    bad: list[str] = []
    kept: list[bytes] = []
    size = total = 0
    for number, line in lines:
        try:
            read_item(line, most=MAX_LINE_BYTES)
        except ItemBroken as error:
            bad.append(f"line {number:,}: {error.message}")
            if len(bad) == MAX_BAD_LINES:
                break
        total += 1
        if bad:
            continue
        _check_total(total, name)
        if kept and size + len(line) + 1 > part_bytes:
            yield _part(kept)
            kept, size = [], 0
        kept.append(line)
        size += len(line) + 1
    if bad:
        more = " and perhaps more" if len(bad) == MAX_BAD_LINES else ""
        raise BadLines(
            f"{name}: {'; '.join(bad)}{more}", "each line is one JSON value, in UTF-8; nothing was submitted"
        )
    if not kept:
        raise ConfigError(f"{name} has no items", "each line is one JSON value")
    yield _part(kept)


def _part(lines: list[bytes]) -> Part:
    return Part(b"\n".join(lines) + b"\n", len(lines))


def _check_total(total: int, name: str) -> None:
    if total > MAX_ITEMS:
        raise ConfigError(
            f"{name} has more than {MAX_ITEMS:,} items, the most of one job", "split it into several jobs"
        )


def part_bytes_for(path: Path, wanted: int) -> int:
    """Return the size of parts for a file: larger than wanted where it would make more parts than a job may have.

    Raises:
        ConfigError: no size would do.
    """
    try:
        size = os.stat(path).st_size
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    # Parts end at lines, so each is a little smaller than its bound.
    least = -(-size // (MAX_PARTS * 9 // 10))
    if max(wanted, least) > MAX_PART_BYTES:
        raise ConfigError(
            f"{path} has {size:,} bytes, more than {MAX_PARTS:,} parts of {MAX_PART_BYTES:,}",
            "split it into several jobs",
        )
    return max(wanted, least)

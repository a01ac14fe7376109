"""Shows dead letters: a line each, or everything that can be read of one. What others wrote is printed harmlessly."""

from __future__ import annotations

import json
import unicodedata
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from headrace.console.letters import FiledLetter
from headrace.schemas.messages import DeadLetter, Origin

MAX_SHOWN = 100_000
"""Characters of a value."""


def harmless(text: str) -> str:
    """Return a text in which no character commands the terminal: line breaks and tabs stay, the rest is escaped."""
    return "".join(ch if ch in "\n\t" or unicodedata.category(ch)[0] != "C" else _escaped(ch) for ch in text)


def _escaped(ch: str) -> str:
    return ch.encode("unicode_escape").decode()


def one_line(filed: FiledLetter) -> str:
    """Return a letter in one line: when, its id, the reason, the job, where the record lay, what is wrong."""
    letter = filed.letter
    state = f"  [{filed.resolution.action}]" if filed.resolution else ""
    message = harmless(" ".join(letter.message.split()))
    return (
        f"{moment(letter.at_ms)}  {filed.address!s:<8} {harmless(letter.reason):<18} "
        f"{harmless(letter.job_id or '-'):<36} {place(letter.origin)}  {message}{state}"
    )


def plain(filed: FiledLetter, letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as one JSON object: the fields of `DeadLetter`, and what is known about it.

    Args:
        letter: the letter with its value.
    """
    resolution = filed.resolution.model_dump(mode="json") if filed.resolution else None
    known = {"id": str(filed.address), "copies": [str(copy) for copy in filed.copies], "resolution": resolution}
    return {**known, **letter.model_dump(mode="json")}


def everything(filed: FiledLetter, letter: DeadLetter) -> str:
    """Return all that can be read of a letter, for people.

    Args:
        letter: the letter with its value.
    """
    return harmless("\n".join(_lines(filed, letter)))


def _lines(filed: FiledLetter, letter: DeadLetter) -> Iterator[str]:
    yield f"letter    {filed.address}"
    yield f"reason    {letter.reason}"
    yield f"message   {letter.message}"
    yield from (f"cause     {error}" for error in letter.errors)
    yield f"origin    {place(letter.origin)}"
    yield f"set aside {moment(letter.at_ms)} by {letter.by}"
    for name in ("job_id", "task_id", "pool", "tenant", "workflow"):
        if (value := getattr(letter, name)) is not None:
            yield f"{name.removesuffix('_id'):<9} {value}"
    yield from (_note(note) for note in letter.attempts)
    yield f"redrives  {letter.redrives}"
    if filed.copies:
        yield f"copies    {', '.join(map(str, filed.copies))}"
    yield _resolution(filed)
    yield f"key       {_bytes_line(letter.key_base64, letter.key_bytes)}"
    for header, content in letter.headers:
        yield f"header    {header}: {readable(decoded(content) or b'', pretty=False)}"
    if letter.headers_left_out:
        yield f"header    … {letter.headers_left_out} more did not fit"
    yield f"value     {_value_line(letter)}"
    if (value_bytes := decoded(letter.value_base64)) is not None:
        yield readable(value_bytes)[:MAX_SHOWN]


def _note(note: Any) -> str:
    who = ", ".join(part for part in (note.pool, note.worker) if part)
    return f"attempt   {note.attempt}: {note.kind.value} at {moment(note.at_ms)} ({who}): {note.message}"


def _resolution(filed: FiledLetter) -> str:
    found = filed.resolution
    if found is None:
        return "state     open"
    to = f" to {found.to}" if found.to else ""
    return f"state     {found.action}{to} {moment(found.at_ms)} by {found.by}"


def _bytes_line(text: str | None, size: int) -> str:
    content = decoded(text)
    if content is None:
        return "(none)"
    return readable(content, pretty=False) + (f" … {size:,} bytes" if size > len(content) else "")


def _value_line(letter: DeadLetter) -> str:
    content = decoded(letter.value_base64)
    if content is None:
        return "(none: a tombstone)"
    kept = f", of which {len(content):,} were kept" if len(content) < letter.value_bytes else ""
    return f"{letter.value_bytes:,} bytes{kept}"


def decoded(text: str | None) -> bytes | None:
    """Return the bytes of a base64 text; broken base64, which only a forger writes, gives none."""
    if text is None:
        return None
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return b""


def readable(content: bytes, *, pretty: bool = True) -> str:
    """Return bytes for people: JSON laid out, text as it is, anything else in hexadecimal."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"0x{content[: MAX_SHOWN // 2].hex()}"
    if not pretty:
        return text
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return text


def moment(at_ms: int) -> str:
    """Return a moment as RFC 3339, or as a number where it is none."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"@{at_ms}"


def place(origin: Origin) -> str:
    """Return where a record lay."""
    if origin.offset < 0:
        return f"{harmless(origin.topic)} (no record)"
    return f"{harmless(origin.topic)}[{origin.partition}]@{origin.offset}"

"""How far a worker is above its committed offset, as text: the metadata of an offset commit.

``3:<taken>:<in flight>:<journal>:<handed over>:<until>;`` comes first: how many offsets above the committed one were
taken and how many of them are in work; the offset from which the journal matters for what is not done (empty where
it is not known); how many calls were handed over and run on elsewhere, and until when at the latest. Version 2 has
the first two numbers only. What follows says which offsets are done, for the next owner of the partition:
``1r:<base64>`` holds run lengths (varints: undone, done, undone, … from the committed offset on), ``1b:<base64>`` a
bitmap (bit i of byte i//8, lowest first, set where the offset committed + i is done); the shorter one is written.
Kafka allows 4,096 characters a partition; this stays below `MAX_CHARS`, and what would not fit is left out from the
top, so that it counts as undone. Text of another form says nothing. Source: docs/kafka-mechanics, C3 to C5.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_CHARS = 3_500
"""The longest text that `encode_commit` returns."""

MAX_WINDOW = 1 << 40
"""Offsets further than this above the committed one are not believed."""

Span = tuple[int, int]
"""Offsets from the first (included) to the second (not included)."""

_PROGRESS_FORM = re.compile(
    r"(?:2:([0-9]{1,12}):([0-9]{1,12})"
    r"|3:([0-9]{1,13}):([0-9]{1,12}):([0-9]{0,18}):([0-9]{1,12}):([0-9]{1,14}));",
    re.ASCII,
)
_RUNS, _BITS = "1r:", "1b:"
_PREFIX_CHARS = 2 + 13 + 12 + 18 + 12 + 14 + 5
"""The longest prefix: five numbers and what stands between them."""
_MAX_BYTES = (MAX_CHARS - _PREFIX_CHARS - len(_RUNS)) // 4 * 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition's owner is."""

    read_to: int
    """The next offset that it will take."""
    in_flight: int
    """Records taken and not answered."""
    journal: int | None = None
    """The least offset of the journal that matters for what is not done; None where it is not known."""
    handed_over: int = 0
    """Calls that an earlier owner finishes, though their offsets count as done."""
    until_ms: int = 0
    """When the last of these ends at the latest."""

    def running_at(self, now_ms: int) -> int:
        """Return how many records are in work, those included that were handed over and may still run."""
        return self.in_flight + (self.handed_over if self.until_ms > now_ms else 0)


def encode_commit(base: int, spans: Sequence[Span], progress: Progress) -> str:
    """Return the metadata for a commit; empty where there is nothing to say."""
    taken = max(0, progress.read_to - base)
    journal = "" if progress.journal is None else progress.journal
    if not (taken or progress.in_flight or progress.handed_over or journal != ""):
        return encode(base, spans)
    prefix = f"3:{taken}:{progress.in_flight}:{journal}:{progress.handed_over}:{progress.until_ms};"
    return prefix + encode(base, spans)


def progress_of(base: int, text: str | None) -> Progress:
    """Return how far the owner was at this commit; text without that says that nothing above ``base`` was taken."""
    found = _PROGRESS_FORM.match(text or "")
    if found is None:
        return Progress(base, 0)
    if found[1] is not None:
        return Progress(base + int(found[1]), int(found[2]))
    journal = int(found[5]) if found[5] else None
    return Progress(base + int(found[3]), int(found[4]), journal, int(found[6]), int(found[7]))


def _without_progress(text: str) -> str:
    found = _PROGRESS_FORM.match(text)
    return text[found.end() :] if found else text


def encode(base: int, spans: Sequence[Span]) -> str:
    """Return the metadata for a commit.

    Args:
        base: the offset that is committed.
        spans: what is done above it: ascending, apart, none empty.

    Returns:
        The text; empty where nothing above ``base`` is done.
    """
    if not spans:
        return ""
    runs = _encode_runs(base, spans)
    if (spans[-1][1] - base + 7) // 8 < len(runs):
        return _BITS + b64encode(_encode_bits(base, spans)).decode()
    return _RUNS + b64encode(runs).decode()


def decode(base: int, text: str | None) -> list[Span]:
    """Return what the metadata says is done above ``base``; unknown or broken text says nothing, and is no error."""
    text = _without_progress(text or "")
    try:
        if text and text.startswith(_RUNS):
            return _decode_runs(base, b64decode(text[len(_RUNS) :], validate=True))
        if text and text.startswith(_BITS):
            return _decode_bits(base, b64decode(text[len(_BITS) :], validate=True))
    except ValueError:
        return []
    return []


def _encode_runs(base: int, spans: Iterable[Span]) -> bytes:
    out, at = bytearray(), base
    for start, end in spans:
        pair = _varint(start - at) + _varint(end - start)
        if len(out) + len(pair) > _MAX_BYTES:
            break
        out += pair
        at = end
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _decode_runs(base: int, data: bytes) -> list[Span]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
        elif shift > 42:
            raise ValueError("a run length without an end")
    if shift or len(numbers) % 2:
        raise ValueError("cut in the middle of a run")
    spans: list[Span] = []
    at = base
    for undone, done in zip(numbers[::2], numbers[1::2], strict=True):
        if not done or (spans and not undone) or at + undone + done - base > MAX_WINDOW:
            raise ValueError("runs that encode would not write")
        spans.append((at + undone, at + undone + done))
        at += undone + done
    return spans


def _encode_bits(base: int, spans: Sequence[Span]) -> bytes:
    bits = 0
    for start, end in spans:
        bits |= ((1 << (end - start)) - 1) << (start - base)
    size = (spans[-1][1] - base + 7) // 8
    return bits.to_bytes(size, "little")[:_MAX_BYTES]


def _decode_bits(base: int, data: bytes) -> list[Span]:
    spans: list[Span] = []
    for place, byte in enumerate(data):
        for bit in range(8):
            if byte >> bit & 1:
                offset = base + place * 8 + bit
                if spans and spans[-1][1] == offset:
                    spans[-1] = (spans[-1][0], offset + 1)
                else:
                    spans.append((offset, offset + 1))
    return spans

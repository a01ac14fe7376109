"""Cutting a text into items, deterministically. Pure: the token counter is an argument.

Texts are cut where a reader would: at the end of a paragraph, else of a sentence, else of a word, else anywhere. No
character is lost and none stands twice: the chunks joined are the text. Only where an overlap is asked for, a chunk
begins with the end of the one before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from headrace.orchestrator.core.boundaries import HARD, PARAGRAPH, Unit, sentences, words
from headrace.orchestrator.core.records import SplitError, read_records

__all__ = ["CountTokens", "SPLITTERS", "SplitError", "split_text"]

CountTokens = Callable[[str], int]

COUNTED_AT_ONCE = 4_096
"""Characters that the counter is asked about at once: some refuse long texts, some are quadratic in a long word."""
GRAINS = 16
"""Sentences and words are gathered to a sixteenth of the size (taken as characters) before they are counted."""
SPLITTERS = ("tokens", "characters", "lines", "records")


def count_chars4(text: str) -> int:
    """Return the tokens of a text by the stated rule: four characters are one token, rounded up."""
    return -(-len(text) // 4)


def split_text(
    text: str, *, by: str, size: int | None, count_tokens: CountTokens, overlap: int = 0, format: str = "auto"
) -> list[Any]:
    """Return the items of a text.

    Args:
        text: what is cut; an empty one has no items.
        by: one of `SPLITTERS`.
        size: the most a chunk holds, in units of `by`. For records: how many make an item, as a list; None makes
            each record an item of its own.
        count_tokens: counts the tokens of a text. It is called once a sentence and the counts are added: byte
            pair encodings never merge more across a cut than within, so the sum is an upper bound for the chunk.
        overlap: how much of the chunk before it a chunk begins with at most, in units of `by`, within `size`; at most
            half of it. Of texts: whole sentences, or where none fits whole words.
        format: of records: ``jsonl``, ``csv`` or ``auto``.

    Raises:
        SplitError: a record cannot be read.
    """
    if by == "records":
        records = read_records(text, format=format)
        return records if size is None else [records[at : at + size] for at in range(0, len(records), size)]
    assert size is not None
    assert size >= 1
    if by == "lines":
        return _split_lines(text, size, overlap)
    count, own = len if by == "characters" else count_tokens, size - overlap
    chunks = _pack(_units(text, own, count), own)
    if not overlap:
        return chunks
    return [_tail(before, overlap, count) + chunk for before, chunk in zip(["", *chunks], chunks, strict=False)]


def _tail(text: str, most: int, count: CountTokens) -> str:
    """Return the end of a chunk that costs at most `most`: sentences, or where none fits words; perhaps nothing."""
    for pieces in (sentences(text), words(Unit(text, HARD))):
        tail, left = "", most
        for piece in reversed([piece.text for piece in pieces]):
            if (cost := _cost(piece, left, count)) is None:
                break
            tail, left = piece + tail, left - cost
        if tail:
            return tail
    return ""


def _split_lines(text: str, size: int, overlap: int) -> list[str]:
    """Lines keep their ends; only a line feed ends a line, as in every tool that counts lines."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    # The last chunk that is not all overlap begins before what is left is.
    starts = range(0, max(1, len(lines) - overlap) if lines else 0, size - overlap)
    return ["".join(lines[at : at + size]) for at in starts]


def _units(text: str, size: int, count: CountTokens) -> list[tuple[Unit, int]]:
    """Return the pieces that are never cut, with their costs: sentences, and below them only what must be."""
    found: list[tuple[Unit, int]] = []
    for sentence in sentences(text, grain=size // GRAINS):
        cost = _cost(sentence.text, size, count)
        if cost is None:
            found.extend(_finer(sentence, size, count))
        else:
            found.append((sentence, cost))
    return found


def _cost(piece: str, size: int, count: CountTokens) -> int | None:
    """Return what a piece costs, or None where it must be cut."""
    if count is not len and len(piece) > COUNTED_AT_ONCE:
        return None
    cost = count(piece)
    return cost if cost <= size else None


def _finer(sentence: Unit, size: int, count: CountTokens) -> Iterator[tuple[Unit, int]]:
    for group in words(sentence, grain=size // GRAINS):
        cost = _cost(group.text, size, count)
        if cost is not None:
            yield group, cost
            continue
        for word in words(group):
            cost = _cost(word.text, size, count)
            if cost is None:
                yield from _hard_cut(word, size, count)
            else:
                yield word, cost


def _hard_cut(word: Unit, size: int, count: CountTokens) -> Iterator[tuple[Unit, int]]:
    """Cut a word that is too long into equal pieces, halving them until each fits or is one character.

    Pieces begin at `size` characters at most; where a token is more than a character, packing joins them again.
    """
    most = min(size, COUNTED_AT_ONCE) if count is not len else size
    step = -(-len(word.text) // -(-len(word.text) // most))
    stack = [word.text[at : at + step] for at in range(0, len(word.text), step)][::-1]
    while stack:
        piece = stack.pop()
        cost = count(piece)
        if cost > size and len(piece) > 1:
            middle = len(piece) // 2
            stack += [piece[middle:], piece[:middle]]
        else:
            yield Unit(piece, HARD if stack else word.rank), cost


def _pack(units: list[tuple[Unit, int]], size: int) -> list[str]:
    """Put neighbouring units together into chunks of nearly equal cost, none above `size`.

    What is left is dealt out evenly over the fewest chunks that can hold it, so the last one is not a crumb. Within a
    window around that target the strongest boundary wins, then the nearest.
    """
    if not units:
        return []
    ends = list(accumulate(cost for _, cost in units))
    chunks: list[str] = []
    start = done = 0
    while start < len(units):
        left = ends[-1] - done
        target = max(1, -(-left // max(1, -(-left // size))))
        stop = _cut(units, ends, start=start, done=done, target=target, size=size)
        chunks.append("".join(unit.text for unit, _ in units[start:stop]))
        start, done = stop, ends[stop - 1]
    return chunks


def _cut(units: list[tuple[Unit, int]], ends: list[int], *, start: int, done: int, target: int, size: int) -> int:
    """Return the index behind the last unit of the chunk that begins at `start`."""
    last = bisect_right(ends, done + size, lo=start)
    if last >= len(units):
        last = len(units)
        if ends[-1] - done <= target:
            return last
    first = bisect_left(ends, done + target * 3 // 4, lo=start, hi=last)
    candidates = range(first + 1, last + 1)
    if not candidates:
        return max(last, start + 1)

    def order(stop: int) -> tuple[int, int]:
        rank = units[stop - 1][0].rank
        return (PARAGRAPH - rank, abs(ends[stop - 1] - done - target))

    return min(candidates, key=order)

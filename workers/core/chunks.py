"""How a document is cut into passages. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Chunk(NamedTuple):
    """A passage."""

    start: int
    """Where it begins, in characters of its document."""
    text: str


def chunks_of(text: str, *, most: int, overlap: int) -> list[Chunk]:
    """Return a document's passages, in order; together they hold all of it but the white space between them.

    Each ends at a paragraph, a line, a sentence or a word, whichever is first to be found in its second half.

    Args:
        most: characters of one passage.
        overlap: characters, at most, that a passage repeats of the one before; half of `most` at most.
    """
    found: list[Chunk] = []
    start = 0
    while start < len(text):
        end = _end(text, start, most)
        passage = text[start:end]
        if stripped := passage.strip():
            found.append(Chunk(start + len(passage) - len(passage.lstrip()), stripped))
        if end >= len(text):
            break
        start = _next_start(text, start, end, overlap)
    return found


def _end(text: str, start: int, most: int) -> int:
    end = start + most
    if end >= len(text):
        return len(text)
    half = start + most // 2
    for mark in ("\n\n", "\n", ". ", " "):
        if (at := text.rfind(mark, half, end)) > half:
            return at + len(mark)
    return end


def _next_start(text: str, start: int, end: int, overlap: int) -> int:
    """Return where the next passage begins: at a word within the overlap, else where this one ends."""
    if not overlap:
        return end
    at = text.find(" ", max(start + 1, end - overlap), end)
    return at + 1 if at != -1 else end

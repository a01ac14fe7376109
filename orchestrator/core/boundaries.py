"""Where a text may be cut: paragraphs, sentences, words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HARD, WORD, SENTENCE, PARAGRAPH = range(4)
"""How good a place is to cut behind, weakest first."""

# Possessive, and a run of stops begins once: a megabyte of dots is read once, not once for each dot.
_SENTENCE_END = re.compile(
    r"\n[ \t\r]*\n\s*"  # an empty line ends a paragraph, with all white space behind it
    r"|(?<![.!?…])[.!?…]++[\"')\]”’»]*+[ \t\r]*+\n(?![ \t\r]*\n)"
    r"|(?<![.!?…])[.!?…]++[\"')\]”’»]*+[ \t]++(?=[^\sa-z])"  # "e.g. this" goes on in lower case
    r"|[。！？]++[”’」』）]*+"
    r"|\n(?=[ \t]*(?:[-*•#>|]|\d+[.)]) )"  # list items, headings, quotes and table rows of Markdown
)
_WORD_END = re.compile(r"(?<=\S)\s+")


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is not cut."""

    text: str
    """The piece, white space behind it included."""
    rank: int
    """How good a place its end is."""


def sentences(text: str, *, grain: int = 1) -> Iterator[Unit]:
    """Yield the sentences of a text; joined they are the text.

    Args:
        grain: shorter sentences (in characters) go together with the next, since each one is counted on its own.
    """
    start = 0
    for found in _SENTENCE_END.finditer(text):
        end = found.end()
        if end - start >= grain:
            ending = found.group()
            yield Unit(text[start:end], PARAGRAPH if ending[0] == "\n" and ending.count("\n") > 1 else SENTENCE)
            start = end
    if start < len(text):
        yield Unit(text[start:], PARAGRAPH)


def words(sentence: Unit, *, grain: int = 1) -> Iterator[Unit]:
    """Yield the words of a sentence; joined they are the sentence, and the last one ends as the sentence does.

    Args:
        grain: as for `sentences`.
    """
    start = 0
    for found in _WORD_END.finditer(sentence.text):
        end = found.end()
        if end - start >= grain and end < len(sentence.text):
            yield Unit(sentence.text[start:end], WORD)
            start = end
    yield Unit(sentence.text[start:], sentence.rank)

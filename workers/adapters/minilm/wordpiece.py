"""Texts to the numbers of BERT's uncased WordPiece vocabulary.

Written here because the library for it brings the client of a model hub along; a test holds it to that library's
numbers. Source: google-research/bert `tokenization.py`; BertNormalizer and BertPreTokenizer of huggingface/tokenizers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

VOCABULARY = Path(__file__).with_name("vocab.txt")
MAX_TOKENS = 256
"""Of a text, its two ends included: what the model was published with. What is longer is cut."""
MAX_WORD_CHARS = 100
"""A longer word is unknown."""
MAX_READ_CHARS = 16_384
"""Of a text, before it is cut into words: 254 tokens of the longest kind end before that, but for runs of spaces."""

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Cuts texts into known pieces, the longest first."""

    def __init__(self, vocabulary: Path = VOCABULARY) -> None:
        words = vocabulary.read_text(encoding="utf-8").split("\n")
        self._numbers = {word: number for number, word in enumerate(words)}
        self._first, self._last = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._unknown = self._numbers["[UNK]"]
        self._pieces_of = lru_cache(maxsize=32_768)(self._cut)

    def numbers(self, text: str) -> list[int]:
        """Return the text's numbers with the marks of its beginning and end, at most `MAX_TOKENS`."""
        found = [self._first]
        for word in _words(text[:MAX_READ_CHARS]):
            found.extend(self._pieces_of(word))
            if len(found) >= MAX_TOKENS:
                break
        return [*found[: MAX_TOKENS - 1], self._last]

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > MAX_WORD_CHARS:
            return (self._unknown,)
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                if (number := self._numbers.get(prefix + word[start:end])) is not None:
                    break
            else:
                return (self._unknown,)
            pieces.append(number)
            start = end
        return tuple(pieces)


def _words(text: str) -> Iterator[str]:
    """Yield words and signs: lower case, without accents and control characters."""
    spaced = "".join(map(_spaced, text))
    stripped = "".join(sign for sign in unicodedata.normalize("NFD", spaced) if unicodedata.category(sign) != "Mn")
    for word in stripped.lower().split():
        yield from _at_signs(word)


@lru_cache(maxsize=8_192)
def _spaced(sign: str) -> str:
    """Return one character without what is not to be read, with room around what is a word of its own."""
    code, category = ord(sign), unicodedata.category(sign)
    if sign in "\t\n\r" or category == "Zs":
        return " "
    if code in (0, 0xFFFD) or category in ("Cc", "Cf", "Co", "Cs"):
        return ""
    return f" {sign} " if any(low <= code <= high for low, high in _CJK) else sign


def _at_signs(word: str) -> Iterator[str]:
    start = 0
    for at, sign in enumerate(word):
        if _is_sign(sign):
            if at > start:
                yield word[start:at]
            yield sign
            start = at + 1
    if start < len(word):
        yield word[start:]


@lru_cache(maxsize=8_192)
def _is_sign(sign: str) -> bool:
    code = ord(sign)
    ascii_sign = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_sign or unicodedata.category(sign).startswith("P")

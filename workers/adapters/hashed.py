"""Vectors without a model: words and letter triples, hashed. Texts that share words are near; meaning plays no part.

For tests, of ours and of users, and for the scripted provider: the same everywhere, no dependency, 50 µs a sentence.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from math import sqrt
from zlib import crc32

from headrace.schemas.vectors import Vector

DIMENSIONS = 256
WORD_WEIGHT = 2.0
"""Of a whole word, against one of its triples."""
_WORD = re.compile(r"\w+")


def hashed_vector(text: str) -> Vector:
    """Return a vector of length 1."""
    sums = [0.0] * DIMENSIONS
    for feature, weight in _features(text):
        number = crc32(feature.encode("utf-8", "surrogatepass"))
        sums[number % DIMENSIONS] += weight if number & 0x8000_0000 else -weight
    length = sqrt(sum(value * value for value in sums)) or 1.0
    return array("f", [value / length for value in sums])


def _features(text: str) -> Iterator[tuple[str, float]]:
    yield "", 0.01  # So that a text without a word has a direction too.
    for word in _WORD.findall(text.lower()):
        yield word, WORD_WEIGHT
        padded = f"<{word}>"
        yield from ((padded[at : at + 3], 1.0) for at in range(len(padded) - 2))

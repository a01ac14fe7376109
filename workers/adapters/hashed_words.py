"""Embeddings without a model: a text is the words that it has, and what its words are made of, hashed into a vector.

Rare words weigh more (inverse document frequency), and parts of words let ``deliveries`` find ``delivery``. It knows no
synonyms; where those matter, an embedding model does. Pure, and the same on every machine. For the tool `retrieve`
without an endpoint, and for what answers without a model: `noop`, the scripted provider.

Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009).
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from zlib import crc32

from headrace.schemas.vectors import Vector

DIMENSIONS = 2_048
PART_WEIGHT = 0.25
"""What a part of a word weighs beside the word."""
PART_LENGTHS = (4, 5)
MAX_WORD = 40
"""Longer ones are cut: a line without spaces is no word."""

_WORD = re.compile(r"\w+")
_WITHIN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_]+")
"""The words within ``customer_orders`` and ``customerOrders``."""


def features_of(text: str) -> dict[str, float]:
    """Return what a text consists of, each with how much there is of it."""
    counts: Counter[str] = Counter()
    for whole in _WORD.findall(text):
        words = {part.lower()[:MAX_WORD] for part in _WITHIN.findall(whole)} | {whole.lower()[:MAX_WORD]}
        counts.update(sorted(words))
    found = {word: 1.0 + math.log(count) for word, count in counts.items()}
    for word, count in counts.items():
        for length in PART_LENGTHS:
            for at in range(len(word) - length + 1):
                part = f"#{word[at : at + length]}"
                found[part] = found.get(part, 0.0) + PART_WEIGHT * (1.0 + math.log(count))
    return found


class HashedWords:
    """What is known of the documents' words.

    Args:
        documents: the features of each.
    """

    def __init__(self, documents: Iterable[Mapping[str, float]]) -> None:
        seen: Counter[str] = Counter()
        self._documents = 0
        for features in documents:
            self._documents += 1
            seen.update(features.keys())
        self._weights = {name: self._weight(count) for name, count in seen.items()}
        self._unseen = self._weight(0)

    def vector(self, features: Mapping[str, float]) -> dict[int, float]:
        """Return a vector of length 1 by its places; empty where a text has no words."""
        found: dict[int, float] = {}
        for name, amount in features.items():
            hashed = crc32(name.encode(errors="replace"))
            # One bit for the sign, so that what falls on one place by chance adds up to nothing on the whole.
            place, sign = (hashed >> 1) % DIMENSIONS, 1.0 if hashed & 1 else -1.0
            found[place] = found.get(place, 0.0) + sign * amount * self._weights.get(name, self._unseen)
        length = math.sqrt(sum(value * value for value in found.values()))
        return {place: value / length for place, value in found.items()} if length else {}

    def _weight(self, documents: int) -> float:
        return 1.0 + math.log((1 + self._documents) / (1 + documents))


def hashed_vector(text: str) -> Vector:
    """Return a text's vector where no other texts are known, so that all words weigh the same."""
    values = array("f", bytes(4 * DIMENSIONS))
    for place, value in HashedWords(()).vector(features_of(text)).items():
        values[place] = value
    return values

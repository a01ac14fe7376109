"""How near a text is to each route, by the routes' example utterances. Pure; needs numpy (extra ``embed``).

A route's score is the mean of two cosines: of its nearest example, and of the middle of all its examples. Measured on
CLINC150 (10 domains, 20 examples each, MiniLM) it chooses the right route for 87.8 of 100 texts that have one; the
nearest example alone for 86.4, the mean of the nearest two for 87.4, of five for 85.2, the middle alone for 79.9
(ADR 27).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.schemas.calls import Examples
from headrace.schemas.vectors import Vector
from headrace.workers.core.rows import cosines, unit, unit_rows

DIGITS = 4
"""Of a score: more would differ from machine to machine."""


class Nearness:
    """The examples of some routes, embedded and ready to be searched.

    Args:
        examples: the routes.
        vectors: one for each example, in their order, all of one length.
    """

    def __init__(self, examples: Sequence[Examples], vectors: Sequence[Vector]) -> None:
        counts = [len(each.texts) for each in examples]
        self._routes = [each.route for each in examples]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._rows = unit_rows(vectors)
        middles = np.add.reduceat(self._rows, self._starts, axis=0) / np.array(counts)[:, None]
        self._middles = unit(middles.astype(np.float32))

    @property
    def dimensions(self) -> int:
        """Values of a vector."""
        return int(self._rows.shape[1])

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return int(self._rows.nbytes + self._middles.nbytes)

    def scores(self, vector: Vector) -> dict[str, float]:
        """Return each route's score for a text, in [-1, 1], in the order of the routes.

        Raises:
            ValueError: the vector has another length than those of the examples.
        """
        if len(vector) != self.dimensions:
            raise ValueError(f"a vector of {len(vector)} values among examples of {self.dimensions}")
        text = unit_rows([vector])[0]
        nearest = np.maximum.reduceat(cosines(self._rows, text), self._starts)
        both = (nearest + cosines(self._middles, text)) / 2
        return dict(zip(self._routes, (round(float(score), DIGITS) for score in both), strict=True))

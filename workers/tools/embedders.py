"""Texts to vectors, for `retrieve`: by the adapter of an endpoint that serves embeddings, or by hashed words.

A vector is a row of float32 of length 1, so that a product of two is their cosine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import uuid4

import structlog

from headrace.schemas.errors import KINDS, AdapterError, DependencyUnavailable
from headrace.schemas.vectors import Vector
from headrace.workers.adapters.base import Embedder
from headrace.workers.adapters.hashed_words import DIMENSIONS, HashedWords, features_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

log = structlog.get_logger("headrace.tools")

BATCH = 64
"""Texts of one request."""
BATCH_TIMEOUT_S = 120.0
TRIES = 5
"""Of one batch of documents at the start; a call's own text is asked for once."""
PROGRESS_S = 2.0
"""How often the progress is told."""


class DocumentEmbedder(Protocol):
    """What makes rows of documents, and of what is asked about them."""

    async def documents(self, texts: Sequence[str]) -> Matrix:
        """Return a row for each text."""
        ...

    async def query(self, text: str, *, timeout_s: float, idempotency_key: str) -> Matrix:
        """Return the row of a question.

        Raises:
            AdapterError: the endpoint did not embed it.
        """
        ...

    async def close(self) -> None: ...


class HashingEmbedder:
    """Hashed words; what they weigh is learned from the documents."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._words = HashedWords(())

    async def documents(self, texts: Sequence[str]) -> Matrix:
        return await asyncio.to_thread(self._learn, texts)

    async def query(self, text: str, *, timeout_s: float, idempotency_key: str) -> Matrix:
        del timeout_s, idempotency_key
        row: Matrix = self._rows([self._words.vector(features_of(text))])[0]
        return row

    async def close(self) -> None:
        """Nothing is held."""

    def _learn(self, texts: Sequence[str]) -> Matrix:
        progress = _Progress(self._tool, 2 * len(texts))
        self._words = HashedWords(progress.over(features_of(text) for text in texts))
        # The features are made twice rather than kept: they take many times what the texts do.
        return self._rows(progress.over(self._words.vector(features_of(text)) for text in texts), len(texts))

    @staticmethod
    def _rows(vectors: Any, count: int = 1) -> Matrix:
        import numpy as np

        rows = np.zeros((count, DIMENSIONS), dtype=np.float32)
        for at, vector in enumerate(vectors):
            rows[at, list(vector)] = list(vector.values())
        return rows


class AdapterEmbedder:
    """A model behind an endpoint, by its adapter.

    Args:
        embedder: the endpoint's adapter.
        model: in the endpoint's words.
    """

    def __init__(self, tool: str, embedder: Embedder, model: str) -> None:
        self._tool = tool
        self._embedder = embedder
        self._model = model

    async def documents(self, texts: Sequence[str]) -> Matrix:
        from headrace.workers.core.rows import unit_rows

        progress = _Progress(self._tool, len(texts))
        vectors: list[Vector] = []
        for at in range(0, len(texts), BATCH):
            vectors += await self._patiently(texts[at : at + BATCH])
            progress.at(len(vectors))
        if len({len(vector) for vector in vectors}) > 1:
            raise DependencyUnavailable(f"tool {self._tool!r}: the endpoint's embeddings have different lengths")
        return cast("Matrix", unit_rows(vectors))

    async def query(self, text: str, *, timeout_s: float, idempotency_key: str) -> Matrix:
        from headrace.workers.core.rows import unit_rows

        answer = await self._embedder.embed(
            [text], model=self._model, timeout_s=timeout_s, idempotency_key=idempotency_key
        )
        return cast("Matrix", unit_rows(answer.vectors)[0])

    async def close(self) -> None:
        await self._embedder.close()

    async def _patiently(self, texts: Sequence[str]) -> list[Vector]:
        for number in range(1, TRIES + 1):
            try:
                answer = await self._embedder.embed(
                    texts, model=self._model, timeout_s=BATCH_TIMEOUT_S, idempotency_key=uuid4().hex
                )
            except AdapterError as error:
                if number == TRIES or not KINDS[error.kind].retriable:
                    message = f"tool {self._tool!r}: the documents cannot be embedded: {error.message}"
                    raise DependencyUnavailable(message, "see the endpoint in the pools file") from None
                pause_s = (error.retry_after_ms or 0) / 1_000 or 0.5 * 2**number
                log.warning("retrieve.failing", tool=self._tool, error=error.message, again_in_s=pause_s)
            else:
                return answer.vectors
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try raises")


class _Progress:
    """Tells how far it is, every two seconds; a start that is over sooner says nothing."""

    def __init__(self, tool: str, total: int) -> None:
        self._tool = tool
        self._total = total
        self._done = 0
        self._told = time.monotonic()

    def at(self, done: int) -> None:
        self._done = done
        if (now := time.monotonic()) - self._told >= PROGRESS_S:
            self._told = now
            log.info("retrieve.indexing", tool=self._tool, percent=100 * done // max(1, self._total))

    def over(self, items: Any) -> Any:
        for item in items:
            yield item
            self.at(self._done + 1)

"""Texts to vectors: by an endpoint (``POST /embeddings``, as OpenAI and others have it), or by hashed words.

A vector is a row of float32 of length 1, so that a product of two is their cosine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from headrace.schemas.errors import KINDS, AdapterError, DependencyUnavailable, ErrorKind
from headrace.schemas.pools import Endpoint
from headrace.workers.adapters.openai_errors import failure_of
from headrace.workers.core.hashed_words import DIMENSIONS, HashedWords, features_of
from headrace.workers.http import HttpClient

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import SecretStr

    Matrix = NDArray[np.float32]

log = structlog.get_logger("headrace.tools")

BATCH = 64
"""Texts of one request."""
BATCH_TIMEOUT_S = 120.0
TRIES = 5
"""Of one batch of documents at the start; a call's own text is asked for once."""
PROGRESS_S = 2.0
"""How often the progress is told."""
MAX_DIMENSIONS = 16_384


class Embedder(Protocol):
    """What makes vectors."""

    async def documents(self, texts: Sequence[str]) -> Matrix:
        """Return a row for each text."""
        ...

    async def query(self, text: str, *, timeout_s: float) -> Matrix:
        """Return the row of a question."""
        ...

    async def close(self) -> None: ...


class HashingEmbedder:
    """Hashed words; what they weigh is learned from the documents."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._words = HashedWords(())

    async def documents(self, texts: Sequence[str]) -> Matrix:
        return await asyncio.to_thread(self._learn, texts)

    async def query(self, text: str, *, timeout_s: float) -> Matrix:
        del timeout_s
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


class EndpointEmbedder:
    """A model behind an endpoint."""

    def __init__(self, tool: str, endpoint: Endpoint, key: SecretStr | None, model: str) -> None:
        self._tool = tool
        self._endpoint = endpoint
        self._model = model
        self._secrets = [key.get_secret_value()] if key else []
        self._http = HttpClient(endpoint.base_url, headers=endpoint.headers, key=key)

    async def documents(self, texts: Sequence[str]) -> Matrix:
        import numpy as np

        progress = _Progress(self._tool, len(texts))
        rows: list[list[float]] = []
        for at in range(0, len(texts), BATCH):
            rows += await self._patiently(texts[at : at + BATCH])
            progress.at(len(rows))
        if len({len(row) for row in rows}) > 1:
            raise DependencyUnavailable(f"tool {self._tool!r}: the endpoint's embeddings have different lengths")
        return _unit(np.asarray(rows, dtype=np.float32).reshape(len(rows), -1))

    async def query(self, text: str, *, timeout_s: float) -> Matrix:
        import numpy as np

        [row] = await self._ask([text], timeout_s)
        found: Matrix = _unit(np.asarray([row], dtype=np.float32))[0]
        return found

    async def close(self) -> None:
        await self._http.close()

    async def _patiently(self, texts: Sequence[str]) -> list[list[float]]:
        for number in range(1, TRIES + 1):
            try:
                return await self._ask(texts, BATCH_TIMEOUT_S)
            except AdapterError as error:
                if number == TRIES or not KINDS[error.kind].retriable:
                    message = f"tool {self._tool!r}: the documents cannot be embedded: {error.message}"
                    raise DependencyUnavailable(message, "see the endpoint in the pools file") from None
                pause_s = (error.retry_after_ms or 0) / 1_000 or 0.5 * 2**number
                log.warning("retrieve.failing", tool=self._tool, error=error.message, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
        raise AssertionError("the last try raises")

    async def _ask(self, texts: Sequence[str], timeout_s: float) -> list[list[float]]:
        body = {**self._endpoint.extra_body, "model": self._model, "input": list(texts), "encoding_format": "float"}
        answer = await self._http.post("/embeddings", body, timeout_s=timeout_s, headers={})
        if answer.status != 200:
            raise failure_of(answer.status, answer.headers, answer.body, secrets=self._secrets)
        try:
            data = json.loads(answer.body)["data"]
            rows = [entry["embedding"] for entry in sorted(data, key=lambda entry: int(entry.get("index", 0)))]
            numbers = all(isinstance(one, int | float) for row in rows for one in row)
            whole = len(rows) == len(texts) and all(0 < len(row) <= MAX_DIMENSIONS for row in rows)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            numbers = whole = False
        if not numbers or not whole:
            raise AdapterError(ErrorKind.SERVER_ERROR, f"the endpoint did not answer with {len(texts)} embeddings")
        return rows


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


def _unit(rows: Matrix) -> Matrix:
    """Return the rows at length 1; what is no number, or nothing, becomes zero, and so is near nothing."""
    import numpy as np

    rows = np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Matrix = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return found

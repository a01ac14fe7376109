"""An echo in process, for benchmarks of the engine alone: the answer is the last message, at once or after a sleep.

As an embedder it hashes: enough for tests of routes, without a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache

from headrace.schemas.messages import LlmCall, Usage
from headrace.workers.adapters.base import AdapterConfig, Completion, Embedding
from headrace.workers.adapters.hashed_words import hashed_vector


class NoopAdapter:
    """Answers with the content of the last message; a token is four characters.

    With the endpoint's ``latency_ms`` each answer takes so long, and an attempt goes the way of a provider's call.
    """

    def __init__(self, config: AdapterConfig) -> None:
        self._latency_s = config.endpoint.latency_ms / 1_000
        self.immediate = not self._latency_s

    def complete(self, request: LlmCall, *, model: str) -> Completion:
        text = request.messages[-1].content if request.messages else ""
        return Completion(text, "stop", _usage(len(text) // 4 + 1), model or "noop")

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        del timeout_s, idempotency_key
        await asyncio.sleep(self._latency_s)
        return self.complete(request, model=model)

    async def embed(self, texts: Sequence[str], *, model: str, timeout_s: float, idempotency_key: str) -> Embedding:
        """Return vectors of the texts' words and letters (`hashed_vector`)."""
        del timeout_s, idempotency_key
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        tokens = sum(len(text) // 4 + 1 for text in texts)
        return Embedding([hashed_vector(text) for text in texts], Usage(input_tokens=tokens), model or "noop")

    async def close(self) -> None:
        """Nothing is held."""


@lru_cache(maxsize=256)
def _usage(tokens: int) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=tokens)

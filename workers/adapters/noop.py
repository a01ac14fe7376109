"""An echo in process, for benchmarks of the engine alone: the answer is the last message."""

from __future__ import annotations

from headrace.schemas.messages import LlmCall, Usage
from headrace.workers.adapters.base import AdapterConfig, Completion


class NoopAdapter:
    """Answers at once with the content of the last message; a token is four characters."""

    immediate = True

    def __init__(self, config: AdapterConfig) -> None:
        del config

    def complete(self, request: LlmCall, *, model: str) -> Completion:
        text = request.messages[-1].content if request.messages else ""
        tokens = len(text) // 4 + 1
        return Completion(text, "stop", Usage(input_tokens=tokens, output_tokens=tokens), model or "noop")

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        del timeout_s, idempotency_key
        return self.complete(request, model=model)

    async def close(self) -> None:
        """Nothing is held."""

"""The seam between an attempt and a provider: one method, one answer or one `AdapterError`.

An adapter makes exactly one provider call: no retry, no redirect. It sees `schemas` and this file only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from pydantic import SecretStr

from headrace.schemas.messages import LlmCall, ToolUse, Usage
from headrace.schemas.pools import Endpoint
from headrace.schemas.vectors import Vector


class Completion(NamedTuple):
    """A provider's answer in our words."""

    text: str
    """The answer; its JSON text where the call has an output schema."""
    finish_reason: str
    """The provider's own word; ``length`` means that it ended at the limit."""
    usage: Usage = Usage()
    model: str = ""
    """The model that answered, in the provider's words."""
    refused: bool = False
    """The provider refused the content; what it counted until then is paid all the same."""
    confidence: float | None = None
    """e to the mean log-probability of the answer's tokens, 0 to 1, where it was asked for and the provider says it."""
    tool_calls: tuple[ToolUse, ...] = ()
    """The calls of tools that it asks for, where the call offers some; without ids."""


class Embedding(NamedTuple):
    """A provider's vectors in our words."""

    vectors: list[Vector]
    """One a text, in the order of the texts, all of one length."""
    usage: Usage = Usage()
    model: str = ""
    """The model that answered, in the provider's words."""


class Adapter(Protocol):
    """What every adapter offers."""

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        """Make one provider call.

        Args:
            timeout_s: the whole call; the caller holds it too, so that an adapter which forgets it cannot hang.
            idempotency_key: task id and attempt, for providers that honour it.

        Raises:
            AdapterError: what went wrong, as a kind.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class ImmediateAdapter(Protocol):
    """An adapter that answers at once, in process: the pool calls it without a task of its own for each attempt."""

    immediate: bool

    def complete(self, request: LlmCall, *, model: str) -> Completion:
        """Answer without waiting for anything."""
        ...


class Embedder(Protocol):
    """What an adapter offers whose endpoint can serve embeddings."""

    async def embed(self, texts: Sequence[str], *, model: str, timeout_s: float, idempotency_key: str) -> Embedding:
        """Turn texts into vectors, by one provider call; the arguments are those of `Adapter.call`.

        Raises:
            AdapterError: what went wrong, as a kind.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter is built from."""

    name: str
    """The endpoint's name in the pools file, for messages."""
    endpoint: Endpoint
    key: SecretStr | None = None
    concurrency: int = 8
    """Most calls side by side, for the connection pool."""


Factory = Callable[[AdapterConfig], Any]

REGISTRY = {
    "minilm": "headrace.workers.adapters.minilm.adapter:MiniLmEmbedder",
    "noop": "headrace.workers.adapters.noop:NoopAdapter",
    "openai": "headrace.workers.adapters.openai:OpenAiAdapter",
}
"""Adapters by name. Imported when asked for: a worker of one provider does not load the others."""


def open_adapter(config: AdapterConfig) -> Adapter:
    """Build the adapter that the endpoint names, for chat; `runtime.pools` has checked that it can."""
    return cast(Adapter, _open(config))


def open_embedder(config: AdapterConfig) -> Embedder:
    """Build the adapter that the endpoint names, for embeddings; `runtime.pools` has checked that it can.

    Raises:
        ConfigError: it needs an extra or a model that is not installed.
    """
    return cast(Embedder, _open(config))


def _open(config: AdapterConfig) -> Any:
    module, _, attribute = REGISTRY[config.endpoint.adapter].partition(":")
    return cast(Factory, getattr(import_module(module), attribute))(config)

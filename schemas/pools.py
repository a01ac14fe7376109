"""The pools file: endpoints, pools, tools and prices in one YAML. A dozen lines make a new pool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.schemas.tools import TOOL_PATTERN, RetrieveTool, Tool

TOOLS_ADAPTER = "tools"
"""The adapter of the endpoints that stand for the tools of a pool; the section ``tools`` makes them, no file does."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Endpoint(_Closed):
    """A provider that a worker can call."""

    adapter: str = "openai"
    """Which adapter speaks to it: ``openai`` (everything that speaks as OpenAI does), ``noop``, or ``minilm``: sentence
    embeddings in the worker itself."""
    base_url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    """Where it listens, with the version: ``https://api.example.com/v1``."""
    api_key_env: str | None = None
    """The name of the environment variable that holds the key; the key itself never stands in a file."""
    public: bool = True
    """Whether it lies outside: confidential payloads never go there."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers of each call; never secrets."""
    extra_body: dict[str, object] = Field(default_factory=dict)
    """Further fields of each request body, for servers that know more than OpenAI does."""
    output_tokens_field: str = "max_completion_tokens"
    """What the server calls the limit of the answer; older ones say ``max_tokens``."""
    latency_ms: int = Field(default=0, ge=0, le=600_000)
    """How long ``noop`` takes for an answer, in milliseconds, to stand in for a slow provider."""

    @model_validator(mode="after")
    def _only_noop_sleeps(self) -> Endpoint:
        if self.latency_ms and self.adapter != "noop":
            raise ValueError(f"latency_ms is for the adapter 'noop'; {self.adapter!r} takes what its provider takes")
        return self


class Price(_Closed):
    """Prices in micro-US-dollars for a million tokens (so 150000 is 0.15 USD)."""

    input: int = Field(default=0, ge=0)
    """A million prompt tokens."""
    cached_input: int | None = Field(default=None, ge=0)
    """A million prompt tokens read from the provider's cache; ``input`` where it is None."""
    output: int = Field(default=0, ge=0)
    """A million answer tokens."""

    def cost_microusd(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Return the price of a call in micro-US-dollars, rounded up: a sum of calls is never below the bill.

        Args:
            input_tokens: all tokens of the prompt.
            cached_tokens: of these, what was read from the cache.
        """
        cached = min(cached_tokens, input_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        total = (input_tokens - cached) * self.input + cached * cached_price + output_tokens * self.output
        return -(-total // 1_000_000)

    @property
    def is_charged(self) -> bool:
        """Whether a call costs anything."""
        return bool(self.input or self.cached_input or self.output)


class Pool(_Closed):
    """A model tier or a tool: its own task topics, its own consumer group."""

    endpoint: str = ""
    """The endpoint that its workers call; the pool of tools has none to name."""
    model: str = ""
    """The model to ask for, in the provider's words."""
    serves: Literal["chat", "embeddings"] = "chat"
    """What its model does: it answers prompts, or turns texts into vectors."""
    texts_per_request: int = Field(default=256, ge=1, le=2_048)
    """Of embeddings: most texts of one request; what the provider takes (OpenAI 2,048, some a hundred)."""
    concurrency: int = Field(default=8, ge=1, le=4096)
    """How many calls one worker runs side by side."""
    context_tokens: int | None = Field(default=None, ge=1)
    """The model's context; a prompt that cannot fit is refused before it is paid for."""
    price: Price = Price()
    """What its tokens cost."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long a call may take where the step says nothing."""


class PoolsFile(_Closed):
    """The whole file."""

    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    """By name."""
    pools: dict[str, Pool] = Field(default_factory=dict)
    """By name; the name becomes part of topic names."""
    tools: dict[str, Tool] = Field(default_factory=dict)
    """By the name that workflows call them."""

    @model_validator(mode="after")
    def _parts_fit(self) -> PoolsFile:
        problems = [*self._add_tool_pools(), *self._pool_problems(), *self._tool_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def public_pools(self) -> tuple[str, ...]:
        """The pools of public endpoints: nothing confidential goes there."""
        return tuple(name for name, pool in self.pools.items() if self.endpoints[pool.endpoint].public)

    def tools_of(self, pool: str) -> dict[str, Tool]:
        """Return the tools that the workers of a pool run; none: it is a pool of models."""
        return {name: tool for name, tool in self.tools.items() if pool_of(tool) == pool}

    def _add_tool_pools(self) -> Iterator[str]:
        """Make the pools that tools name, each with an endpoint that stands for them; yield what is in the way.

        So a tool needs no line in ``pools``; there its pool has one only where it is to be another than usual.
        """
        for name, tool in self.tools.items():
            pool_name = pool_of(tool)
            pool = self.pools.get(pool_name, Pool())
            known = self.endpoints.get(pool_name)
            if pool.endpoint not in ("", pool_name) or (known is not None and known.adapter != TOOLS_ADAPTER):
                calls = pool.endpoint or pool_name
                yield f"tools.{name}.pool: pool {pool_name!r} calls endpoint {calls!r}; tools have pools of their own"
                continue
            public = tool.public or (known is not None and known.public)
            self.endpoints[pool_name] = Endpoint(adapter=TOOLS_ADAPTER, public=public)
            self.pools[pool_name] = pool.model_copy(update={"endpoint": pool_name})

    def _pool_problems(self) -> Iterator[str]:
        for name, pool in self.pools.items():
            if not pool.endpoint:
                yield f"pool {name!r} names no endpoint, and no tool names it"
            elif pool.endpoint not in self.endpoints:
                known = ", ".join(self.endpoints) or "none"
                yield f"pool {name!r} names endpoint {pool.endpoint!r}, which is not there (known: {known})"
            if not name.replace("-", "").isalnum() or not name.islower():
                yield f"pool name {name!r}: use lower-case letters, digits and hyphens"

    def _tool_problems(self) -> Iterator[str]:
        for name, tool in self.tools.items():
            if not re.fullmatch(TOOL_PATTERN, name):
                yield f"tool name {name!r}: use letters, digits, hyphens and underscores, and begin with a letter"
            if isinstance(tool, RetrieveTool) and tool.endpoint is not None:
                if (endpoint := self.endpoints.get(tool.endpoint)) is None or endpoint.adapter == TOOLS_ADAPTER:
                    near = get_close_matches(tool.endpoint, list(self.endpoints), n=1, cutoff=0.6)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    yield f"tools.{name}.endpoint: there is no endpoint {tool.endpoint!r}{hint}"
                elif endpoint.public and not tool.public:
                    yield f"tools.{name}: endpoint {tool.endpoint!r} is public, so the tool is (public: true)"


def pool_of(tool: Tool) -> str:
    """Return the pool whose workers run a tool."""
    return tool.pool or f"tool-{tool.kind}"

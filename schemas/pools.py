"""The pools file: endpoints, pools and prices in one YAML. A dozen lines make a new pool."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


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

    @property
    def is_charged(self) -> bool:
        """Whether a call costs anything."""
        return bool(self.input or self.cached_input or self.output)


class Pool(_Closed):
    """A model tier or a tool: its own task topics, its own consumer group."""

    endpoint: str
    """The endpoint that its workers call."""
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

    @model_validator(mode="after")
    def _pools_have_endpoints(self) -> PoolsFile:
        for name, pool in self.pools.items():
            if pool.endpoint not in self.endpoints:
                known = ", ".join(self.endpoints) or "none"
                raise ValueError(f"pool {name!r} names endpoint {pool.endpoint!r}, which is not there (known: {known})")
            if not name.replace("-", "").isalnum() or not name.islower():
                raise ValueError(f"pool name {name!r}: use lower-case letters, digits and hyphens")
        return self

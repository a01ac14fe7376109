"""Model calls as a workflow writes them. Part of `schemas.workflow`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    """Base of everything that a workflow's text is made of: an unknown key is a problem."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, populate_by_name=True
    )


class MessageSpec(Closed):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said; a template."""


class CallSpec(Closed):
    """What a model is asked, without whom: `prompt`, `system` and `prompt`, or `messages`."""

    prompt: str | None = None
    """The user's message; a template."""
    system: str | None = None
    """The system's message; a template."""
    messages: list[MessageSpec] | None = Field(default=None, min_length=1, max_length=1_000)
    """The whole prompt, in place of `prompt` and `system`."""
    temperature: float | None = Field(default=None, ge=0, le=10)
    """Sampling temperature; left to the provider where it is missing."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling; left to the provider where it is missing."""
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    """Sampling seed, where the provider has one."""
    stop: list[str] = Field(default_factory=list, max_length=16)
    """Texts at which the model stops."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """The most the model may write."""
    output: dict[str, Any] | None = None
    """JSON Schema that the answer must hold; the step's output is then the parsed JSON."""


class ToolCallSpec(Closed):
    """One call of a tool."""

    name: str
    """The tool, as the pools file calls it."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments: a structure of templates. A template of one expression keeps its value."""


class LlmSpec(CallSpec):
    """One model call: `prompt`, `system` and `prompt`, or `messages`."""

    pool: str
    """The pool whose workers make the call."""

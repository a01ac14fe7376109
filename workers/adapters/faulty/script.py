"""What the scripted provider does: a YAML file of rules, and the draws from it. Pure: same seed and key, same fate."""

from __future__ import annotations

import re
from functools import cached_property
from math import exp, log
from random import Random
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headrace.schemas.errors import ConfigError

FaultKind = Literal[
    "rate_limited",
    "overloaded",
    "server_error",
    "error",
    "stall",
    "truncated",
    "malformed",
    "content_filter",
    "garbage",
    "wrong_content_type",
    "reset",
    "half",
]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Latency(_Closed):
    """How long an answer takes. Without a law it comes at once."""

    law: Literal["fixed", "uniform", "lognormal"] = "fixed"
    ms: float = Field(default=0.0, ge=0)
    """``fixed``: always; ``lognormal``: the median."""
    low_ms: float = Field(default=0.0, ge=0)
    """``uniform``: the least."""
    high_ms: float = Field(default=0.0, ge=0)
    """``uniform``: the most."""
    sigma: float = Field(default=0.5, ge=0)
    """``lognormal``: the spread; 0.5 makes the 99th percentile about three times the median."""

    def draw_s(self, random: Random) -> float:
        """Return one latency in seconds."""
        if self.law == "uniform":
            return random.uniform(self.low_ms, max(self.low_ms, self.high_ms)) / 1_000
        if self.law == "lognormal" and self.ms > 0:
            return exp(random.gauss(log(self.ms), self.sigma)) / 1_000
        return self.ms / 1_000


class Fault(_Closed):
    """One way to fail, and when."""

    kind: FaultKind
    probability: float = Field(default=1.0, ge=0, le=1)
    """Of the calls that reach this fault."""
    first_calls: int | None = Field(default=None, ge=1)
    """Only the first so many calls of each task; then it succeeds."""
    start_s: float = Field(default=0.0, ge=0)
    """A storm begins so long after the script was loaded."""
    length_s: float | None = Field(default=None, gt=0)
    """A storm lasts so long."""
    every_s: float | None = Field(default=None, gt=0)
    """A storm comes back so often."""
    status: int | None = Field(default=None, ge=300, le=599)
    """Another HTTP status."""
    retry_after: str | None = None
    """The Retry-After header: seconds, or an HTTP date."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers."""
    type: str = ""
    """``error.type`` of the body."""
    code: str | None = None
    """``error.code`` of the body."""
    message: str = "scripted failure"
    """``error.message`` of the body."""
    stall_s: float = Field(default=3_600.0, ge=0)
    """``stall``: how long nothing is said before the answer comes."""

    def applies(self, *, call_of_task: int, elapsed_s: float, draw: float) -> bool:
        """Return whether this call fails. ``call_of_task`` counts from 1; ``draw`` lies in [0, 1)."""
        if self.first_calls is not None and call_of_task > self.first_calls:
            return False
        since = elapsed_s - self.start_s
        if since < 0:
            return False
        if self.every_s is not None:
            since %= self.every_s
        if self.length_s is not None and since >= self.length_s:
            return False
        return draw < self.probability


class ScriptedUse(_Closed):
    """A call of a tool that an answer asks for."""

    name: str
    """The tool."""
    arguments: Any = Field(default_factory=dict)
    """Its arguments: a text as it is, anything else as JSON; ``{last}`` and ``{1}`` as in an answer."""


class Rule(_Closed):
    """What to answer to prompts that match. The first rule that matches counts."""

    match: str = ""
    """A regular expression, searched in all messages joined by line breaks."""
    answer: str | None = None
    """The text; ``{last}`` is the last message, ``{model}`` the model, ``{1}`` the first group of the match."""
    json_answer: Any = None
    """A JSON answer, as it stands."""
    tool_calls: tuple[ScriptedUse, ...] = ()
    """Calls of tools that the answer asks for, where the request offers tools and lets them be called."""
    confidence: float | None = Field(default=None, gt=0, le=1)
    """How sure the model says to be, where a request asks for log-probabilities; missing: it says nothing."""
    faults: tuple[Fault, ...] = ()
    """Ways to fail, tried in this order before the answer."""
    latency: Latency | None = None
    """Another latency than the script's."""

    @field_validator("match")
    @classmethod
    def _is_an_expression(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return text

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.match)


class Script(_Closed):
    """The whole file. An empty one echoes the last message at once, or makes JSON where a schema is asked for."""

    seed: int = 0
    """Other seeds, other draws."""
    models: tuple[str, ...] = ("scripted",)
    """What ``GET /v1/models`` lists."""
    latency: Latency = Latency()
    """Of every answer, faults included."""
    faults: tuple[Fault, ...] = ()
    """Ways to fail, whatever the prompt."""
    rules: tuple[Rule, ...] = ()
    """Answers by prompt."""
    honour_keys: bool = False
    """Give the same answer again to a repeated idempotency key, as some providers do, and count no new call."""

    def draws(self, key: str) -> Random:
        """Return the randomness of one call; nothing else is random."""
        return Random(f"{self.seed}/{key}")

    def rule_for(self, prompt: str) -> tuple[Rule, re.Match[str] | None]:
        """Return the first rule whose expression is found in the prompt."""
        for rule in self.rules:
            if found := rule.pattern.search(prompt):
                return rule, found
        return Rule(), None


def parse_script(text: str | bytes, name: str = "script") -> Script:
    """Read a script from YAML (or JSON, which is YAML).

    Raises:
        ConfigError: not YAML, or wrong; every finding is named.
    """
    try:
        return Script.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {' '.join(str(error).split())[:300]}") from None
    except ValidationError as error:
        findings = [
            f"{'.'.join(str(part) for part in finding['loc'])}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(f"{name}: {'; '.join(findings)}") from None

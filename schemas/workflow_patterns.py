"""Steps of several calls that decide as they go: which branch, how far up, what most say, once more or not.

Part of `schemas.workflow`. docs/workflows.md shows each.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headrace.schemas.workflow_calls import Closed, LlmSpec

Share = Annotated[float, Field(ge=0, le=1)]
Pools = Annotated[list[str], Field(min_length=1, max_length=16)]


class RuleSpec(Closed):
    """A rule of a route."""

    when: str
    """A condition: one expression."""
    to: str
    """The branch that is taken where it holds."""


class ClassifierSpec(LlmSpec):
    """A model that names the branch, by an enum of them and ``unsure``."""

    labels: dict[str, str] = Field(default_factory=dict, max_length=100)
    """Branches that it may name, each with what belongs there; its prompt knows them as ``labels``. Missing: all."""
    at_least: Share | None = None
    """Confidence below which its answer counts as unsure; it is not asked for where this is missing."""


class BranchSpec(Closed):
    """What is done where a branch is taken; nothing: the step's output is the branch's name."""

    llm: LlmSpec | None = None
    """One model call, whose answer is the step's output."""


class RouteSpec(Closed):
    """One of several calls: by rules, else by a classifier, else `otherwise`."""

    rules: list[RuleSpec] = Field(default_factory=list, max_length=100)
    """The first that holds decides."""
    classifier: ClassifierSpec | None = None
    """Asked where no rule holds, once."""
    otherwise: str
    """The branch where nothing else decides: no rule holds, and the classifier is unsure, wrong, or fails."""
    to: dict[str, BranchSpec] = Field(min_length=1, max_length=100)
    """The branches, by name."""

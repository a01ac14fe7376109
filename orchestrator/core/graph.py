"""A workflow, checked and compiled to one graph of steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.steps import (
    KeyRule,
    LlmPlan,
    MessageTemplate,
    OnError,
    OnErrorMode,
    Require,
    RetryPolicy,
    Source,
    SplitPlan,
    Step,
    StepKind,
)
from headrace.schemas.pools import Pool

__all__ = [
    "Graph",
    "KeyRule",
    "LlmPlan",
    "MessageTemplate",
    "OnError",
    "OnErrorMode",
    "Require",
    "RetryPolicy",
    "Source",
    "SplitPlan",
    "Step",
    "StepKind",
    "compile_workflow",
]


@dataclass(frozen=True, slots=True)
class Graph:
    """A compiled workflow."""

    name: str
    """The workflow's name."""
    version: int
    """The workflow's version."""
    sha256: str
    """Of `canonical`; the key of the stored text."""
    canonical: bytes
    """The document as canonical JSON: compiling it again gives this graph."""
    steps: tuple[Step, ...]
    """In topological order; steps that do not depend on each other stand as the author wrote them."""
    output: Any
    """A template, or a structure of templates, for `templates.evaluate_structure`."""
    output_needs: tuple[str, ...]
    """The steps that the output references."""
    input_schema: dict[str, Any]
    """JSON Schema of the input; empty where anything goes."""
    _by_name: dict[str, Step] = field(repr=False, compare=False)
    _consumers: dict[str, tuple[str, ...]] = field(repr=False, compare=False)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def step(self, name: str) -> Step:
        """Return a step by name; a KeyError is our own bug."""
        return self._by_name[name]

    def consumers(self, name: str) -> tuple[str, ...]:
        """Return the steps that need a step, in topological order."""
        return self._consumers[name]


def compile_workflow(
    document: Mapping[str, Any], *, pools: Mapping[str, Pool] | None, lines: Mapping[str, int] | None = None
) -> Graph:
    """Check a workflow as a whole and compile it.

    Args:
        document: the workflow, as read from YAML or JSON.
        pools: the pools there are; None leaves them unchecked (a console without a pools file).
        lines: the line of each path of the document, for the problems.

    Raises:
        WorkflowInvalid: with every problem that was found.
    """
    raise NotImplementedError

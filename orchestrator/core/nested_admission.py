"""The workflows that a workflow nests, looked up before its job is accepted: what never could run is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.taint import public_uses
from headrace.schemas.errors import HeadraceError
from headrace.schemas.workflow_nesting import MAX_DEPTH

Find = Callable[[str | dict[str, Any]], Graph]
"""Returns a nested workflow, by name or written out; raises `HeadraceError` where there is none."""


class NestingInvalid(HeadraceError):
    """A workflow whose nested ones do not hold."""


@dataclass(frozen=True, slots=True)
class Nested:
    """A workflow below another."""

    way: str
    """The way to it: ``a@1/step/b@2``."""
    graph: Graph
    confidential: bool = False
    """Whether its job is confidential whatever the job above says: a step on the way is."""


def nested_graphs(graph: Graph, find: Find, *, depth: int = 0) -> Iterator[Nested]:
    """Yield every workflow below one, each once a level (twice where it is confidential for one step only).

    Args:
        depth: how many jobs stand above it.

    Raises:
        NestingInvalid: one is not there, they nest too deeply, or one cannot be nested so.
    """
    level = [Nested(graph.ref, graph)]
    while level:
        below: dict[tuple[str, bool], Nested] = {}
        depth += 1
        for above in level:
            for step in above.graph.steps:
                if step.nested is None:
                    continue
                place = f"{above.way}/{step.name}"
                if depth > MAX_DEPTH:
                    raise NestingInvalid(f"{place} nests deeper than {MAX_DEPTH}")
                found = _find(find, place, step.nested.workflow)
                if found.in_turn:
                    raise NestingInvalid(f"{place}: {found.ref} has steps with key: session, which cannot be nested")
                if found.yields_confidential and step.sensitivity is None and not step.confidential:
                    hint = "say sensitivity: confidential on the step, or public where all may see it"
                    raise NestingInvalid(f"{place}: what {found.ref} yields is confidential: {hint}")
                confidential = above.confidential or step.confidential
                nested = Nested(f"{place}/{found.ref}", found, confidential)
                below.setdefault((found.sha256, confidential), nested)
        level = list(below.values())
        yield from level


def _find(find: Find, place: str, workflow: str | dict[str, Any]) -> Graph:
    try:
        return find(workflow)
    except HeadraceError as error:
        raise NestingInvalid(f"{place}: {error.message}") from None


def public_calls(graph: Graph, public_pools: Collection[str]) -> list[str]:
    """Return the public pools and tools that a workflow's steps may call, each with its step."""
    return [f"{step.name} ({used})" for step in graph.steps for used in public_uses(step, public_pools)]

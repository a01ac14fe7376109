"""The workflows that a workflow nests, looked up before its job is accepted: what never could run is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from headrace.orchestrator.core.graph import Graph
from headrace.schemas.errors import HeadraceError
from headrace.schemas.workflow_nesting import MAX_DEPTH

Find = Callable[[str | dict[str, Any]], Graph]
"""Returns a nested workflow, by name or written out; raises `HeadraceError` where there is none."""


class NestingInvalid(HeadraceError):
    """A workflow whose nested ones do not hold."""


def nested_graphs(graph: Graph, find: Find, *, depth: int = 0) -> Iterator[tuple[str, Graph]]:
    """Yield every workflow below one, each once a level, with the way to it: ``a@1/step/b@2/step``.

    Args:
        depth: how many jobs stand above it.

    Raises:
        NestingInvalid: one is not there, or they nest too deeply.
    """
    level = [(graph.ref, graph)]
    while level:
        below: dict[str, tuple[str, Graph]] = {}
        depth += 1
        for way, above in level:
            for step in above.steps:
                if step.nested is None:
                    continue
                place = f"{way}/{step.name}"
                if depth > MAX_DEPTH:
                    raise NestingInvalid(f"{place} nests deeper than {MAX_DEPTH}")
                found = _find(find, place, step.nested.workflow)
                below.setdefault(found.sha256, (f"{place}/{found.ref}", found))
        level = list(below.values())
        yield from level


def _find(find: Find, place: str, workflow: str | dict[str, Any]) -> Graph:
    try:
        return find(workflow)
    except HeadraceError as error:
        raise NestingInvalid(f"{place}: {error.message}") from None

"""How templates use a name: as a whole, or only to count it. Pure.

A list that is only counted need not be there: neither the million items that a job gives by reference, nor a million
outputs whose number is all that the outcome says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from jinja2 import nodes

from headrace.orchestrator.core.templates import only_expression, references, syntax_of

_COUNTING = ("length", "count")


class ItemsUse(StrEnum):
    """What a template does with ``input.items``."""

    NONE = "none"
    SOURCE = "source"
    """It is exactly that path: ``{{ input.items }}``."""
    COUNT = "count"
    """It only asks how many there are: ``{{ input.items | length }}``."""
    OTHER = "other"


@lru_cache(maxsize=4_096)
def items_use(source: str) -> ItemsUse:
    """Return what a template does with ``input.items``.

    Raises:
        TemplateInvalid: it does not compile.
    """
    if "items" not in source or "input" not in references(source):
        return ItemsUse.NONE
    tree = syntax_of(source)
    found = [(node, parent) for node, parent in nodes_of(tree) if _is_items(node)]
    if not found:
        return ItemsUse.NONE
    if found[0][0] is only_expression(tree):
        return ItemsUse.SOURCE
    return ItemsUse.COUNT if all(_counts(parent, node) for node, parent in found) else ItemsUse.OTHER


@lru_cache(maxsize=4_096)
def _counted(source: str) -> tuple[str, ...]:
    """Return the names of which a template only asks how long they are."""
    whole: dict[str, bool] = {}
    for node, parent in nodes_of(syntax_of(source)):
        if isinstance(node, nodes.Name):
            counts = node.ctx == "load" and _counts(parent, node)
            whole[node.name] = whole.get(node.name, False) or not counts
    return tuple(name for name, needed in whole.items() if not needed)


def names_read(sources: Iterable[str]) -> dict[str, bool]:
    """Return the names that some templates read; for each, whether it is needed whole and not only counted.

    Raises:
        TemplateInvalid: one does not compile.
    """
    found: dict[str, bool] = {}
    for source in sources:
        counted = _counted(source)
        for name in references(source):
            found[name] = found.get(name, False) or name not in counted
    return found


def texts_of(structure: object) -> Iterator[str]:
    """Yield the templates of a structure."""
    if isinstance(structure, str):
        yield structure
    elif isinstance(structure, dict):
        for part in structure.values():
            yield from texts_of(part)
    elif isinstance(structure, list):
        for part in structure:
            yield from texts_of(part)


def nodes_of(tree: nodes.Node) -> Iterator[tuple[nodes.Node, nodes.Node]]:
    """Yield every node below a tree, each with the node that it stands in."""
    stack = [tree]
    while stack:
        parent = stack.pop()
        for node in parent.iter_child_nodes():
            yield node, parent
            stack.append(node)


def _is_items(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return node.attr == "items" and _is_input(node.node)
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and node.arg.value == "items" and _is_input(node.node)
    return False


def _is_input(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "input"


def _counts(parent: nodes.Node, node: nodes.Node) -> bool:
    return isinstance(parent, nodes.Filter) and parent.name in _COUNTING and parent.node is node

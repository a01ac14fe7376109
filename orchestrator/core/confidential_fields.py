"""Which fields of an input are confidential, and which templates name them. Pure.

A property of the input's schema is marked with ``x-confidential: true``. What a template reads is a path that begins
with ``input``, as far as it is written out: what it does further on (an index that is computed, a loop, a filter,
another name) counts as reading all that is below. So more may count as read than is, and never less.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from headrace.orchestrator.core.problems import Problems
from headrace.orchestrator.core.template_uses import nodes_of
from headrace.orchestrator.core.templates import only_expression, syntax_of

MARK = "x-confidential"
ANY = "*"
"""An entry of a list, or a field of whatever name."""
Path = tuple[str, ...]

_SAME = ("allOf", "anyOf", "oneOf")
"""Lists of schemas that all say something of the same value."""


def marked_fields(schema: dict[str, Any], problems: Problems) -> tuple[Path, ...]:
    """Return the fields that are marked; a mark that would be passed over is a problem."""
    found: list[Path] = []
    seen = 0
    for path, part in _parts(schema):
        if MARK not in part:
            continue
        seen += 1
        if part[MARK] is True:
            found.append(path)
        elif part[MARK] is not False:
            problems.add("input", f"{MARK} of {_shown(path)} is true or false")
    if _count(schema) > seen:
        message = f"{MARK} holds on what properties, items, allOf, anyOf and oneOf lead to: write the field out there"
        problems.add("input", message)
    return tuple(found)


def _parts(schema: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a schema and those in it, each with the place in a value that it is about."""
    stack: list[tuple[Path, Any]] = [((), schema)]
    while stack:
        path, part = stack.pop()
        if not isinstance(part, dict):
            continue
        yield path, part
        properties = part.get("properties")
        if isinstance(properties, dict):
            stack += [((*path, name), below) for name, below in properties.items()]
        stack.append(((*path, ANY), part.get("items")))
        for word in _SAME:
            alternatives = part.get(word)
            stack += [(path, below) for below in alternatives] if isinstance(alternatives, list) else []


def _count(value: Any) -> int:
    """Return how many marks a schema has, wherever they stand."""
    count, stack = 0, [value]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            count += MARK in part and not isinstance(part[MARK], dict)
            stack += part.values()
        elif isinstance(part, list):
            stack += part
    return count


def _shown(path: Path) -> str:
    return ".".join(("input", *path))


def named_field(marked: tuple[Path, ...], source: str, item: Path | None) -> str | None:
    """Return a confidential field that a template reads, as authors write it; None where it reads none.

    Args:
        item: the place in the input that `item`, or the entries of `items`, come from; None where they are a step's.
    """
    if not marked:
        return None
    for root, path in _reads(source):
        if root == "input":
            full = path
        elif item is not None and root in ("item", "items"):
            full = (*item, *(path if root == "item" else path[1:]))
        else:
            continue
        found = next((mark for mark in marked if _meet(mark, full)), None)
        if found is not None:
            return _shown(found)
    return None


def source_field(source: str) -> Path | None:
    """Return the place in the input that an expression is, where it is nothing else."""
    tree = syntax_of(source)
    expression = only_expression(tree)
    return next((path for root, path, whole in _chains(tree) if root == "input" and whole is expression), None)


def _meet(mark: Path, read: Path) -> bool:
    """Return whether one place lies within the other."""
    return all(ANY in (a, b) or a == b for a, b in zip(mark, read, strict=False))


@lru_cache(maxsize=4_096)
def _reads(source: str) -> tuple[tuple[str, Path], ...]:
    return tuple((root, path) for root, path, _ in _chains(syntax_of(source)))


def _chains(tree: nodes.Template) -> Iterator[tuple[str, Path, nodes.Node]]:
    """Yield each name that a template reads, with the fields behind it that are written out, and where these end."""
    parents = {id(node): parent for node, parent in nodes_of(tree)}
    for node, _ in nodes_of(tree):
        if not isinstance(node, nodes.Name) or node.ctx != "load":
            continue
        path: list[str] = []
        whole: nodes.Node = node
        while (further := _field(parents.get(id(whole)), whole)) is not None:
            above = parents[id(whole)]
            if isinstance(parent := parents.get(id(above)), nodes.Call) and parent.node is above:
                break  # A method: it may give all there is.
            path.append(further)
            whole = above
        yield node.name, tuple(path), whole


def _field(parent: nodes.Node | None, node: nodes.Node) -> str | None:
    """Return the field of a node that its parent reads; None where that is not written out."""
    if isinstance(parent, nodes.Getattr) and parent.node is node:
        return parent.attr
    if isinstance(parent, nodes.Getitem) and parent.node is node and isinstance(parent.arg, nodes.Const):
        value = parent.arg.value
        return value if isinstance(value, str) else ANY if isinstance(value, int) else None
    return None

"""How many values become one: the tree of a reduce step, and the reducers that need no task.

Pure. The tree is arithmetic over two numbers, so a reduce over a million items costs no list and no record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind, HeadraceError


class ReduceError(HeadraceError):
    """Values that a reducer cannot take."""

    kind: ErrorKind = ErrorKind.INVALID_INPUT


@dataclass(frozen=True, slots=True)
class NodeInputs:
    """The inputs of one node, left to right."""

    leaf: bool
    """True: they are items of the source; False: outputs of nodes of the level below."""
    start: int
    """The first: an item's index, or a node's global number."""
    stop: int
    """The end, exclusive."""

    @property
    def indices(self) -> range:
        """The indices, left to right."""
        return range(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class TreePlan:
    """A tree of nodes with at most `fan_in` inputs each.

    Nodes are numbered from 0, level by level, left to right, the root last; a node's number is its task's index. The
    inputs of a level are dealt out evenly, so that 9 items with a fan-in of 8 make two nodes of 5 and 4 and not a
    call that merges one note. One item still makes one node (a merge of one is a rewrite, and authors expect the
    step's prompt to have run); no items make none, and the engine decides what that means.
    """

    count: int
    """How many items there are."""
    fan_in: int
    """The most inputs of a node, at least 2."""
    levels: tuple[int, ...] = field(init=False)
    """How many nodes each level has, from the items upwards; at most log2 of the count, plus one."""

    def __post_init__(self) -> None:
        if self.count < 0 or self.fan_in < 2:
            raise ValueError(f"a tree needs count >= 0 and fan_in >= 2, not {self.count} and {self.fan_in}")
        levels: list[int] = []
        width = self.count
        while width > 1 or (width == 1 and not levels):
            width = -(-width // self.fan_in)
            levels.append(width)
        object.__setattr__(self, "levels", tuple(levels))

    @property
    def node_count(self) -> int:
        """How many nodes there are, which is how many tasks the step has."""
        return sum(self.levels)

    @property
    def root(self) -> int | None:
        """The number of the last node; None where there are no items."""
        return self.node_count - 1 if self.levels else None

    def inputs_of(self, node: int) -> NodeInputs:
        """Return what a node merges.

        Raises:
            IndexError: there is no such node.
        """
        below, below_first, first = self.count, 0, 0
        for depth, width in enumerate(self.levels):
            if first <= node < first + width:
                place = node - first
                start, stop = place * below // width, (place + 1) * below // width
                return NodeInputs(depth == 0, below_first + start, below_first + stop)
            below, below_first, first = width, first, first + width
        raise IndexError(f"node {node} of {self.node_count}")

    def parent_of_item(self, item: int) -> int:
        """Return the node that merges an item.

        Raises:
            IndexError: there is no such item.
        """
        if not 0 <= item < self.count:
            raise IndexError(f"item {item} of {self.count}")
        return _bucket(item, self.count, self.levels[0])

    def parent_of_node(self, node: int) -> int | None:
        """Return the node that merges a node's output; None for the root.

        Raises:
            IndexError: there is no such node.
        """
        first = 0
        for depth, width in enumerate(self.levels):
            if first <= node < first + width:
                if width == 1:
                    return None
                return first + width + _bucket(node - first, width, self.levels[depth + 1])
            first += width
        raise IndexError(f"node {node} of {self.node_count}")


def _bucket(place: int, count: int, buckets: int) -> int:
    """Return the bucket j with j*count//buckets <= place < (j+1)*count//buckets."""
    return ((place + 1) * buckets - 1) // count


def apply_reducer(name: str, values: Iterable[Any]) -> Any:
    """Run a pure reducer over the values, in their order.

    Args:
        name: one of `REDUCERS`; the compiler has checked it.
        values: the outputs of the source, those that were skipped (None) left out by the caller.

    Raises:
        ReduceError: a value has another type than the reducer takes, or there is none where one is needed.
    """
    return REDUCERS[name](list(values))


def _concat(values: list[Any]) -> Any:
    """Texts become one text and lists one list, nothing in between: the inverse of a split."""
    if all(isinstance(value, str) for value in values):
        return "".join(values)
    if all(isinstance(value, list) for value in values):
        return [entry for value in values for entry in value]
    raise ReduceError("concat takes texts, or lists, and not both")


def _count(values: list[Any]) -> int:
    return len(values)


def _mean(values: list[Any]) -> float:
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong or not values:
        what = f"a {type(wrong[0]).__name__}" if wrong else "no values"
        raise ReduceError(f"mean takes numbers, and was given {what}")
    try:
        return float(sum(values) / len(values))
    except OverflowError:
        raise ReduceError("mean: the numbers are too large to be divided") from None


def _majority(values: list[Any]) -> Any:
    """The most frequent value; of equals the one seen first, so that a replay decides alike."""
    if not values:
        raise ReduceError("majority takes at least one value")
    counts: dict[bytes, int] = {}
    firsts: dict[bytes, Any] = {}
    for value in values:
        text = canonical_json(value)
        firsts.setdefault(text, value)
        counts[text] = counts.get(text, 0) + 1
    return firsts[max(counts, key=lambda text: counts[text])]


def _merge_objects(values: list[Any]) -> dict[str, Any]:
    """Later objects win, field by field, at the top level only."""
    merged: dict[str, Any] = {}
    for value in values:
        if not isinstance(value, dict):
            raise ReduceError(f"merge_objects takes objects, and was given a {type(value).__name__}")
        merged.update(value)
    return merged


REDUCERS: dict[str, Callable[[list[Any]], Any]] = {
    "concat": _concat,
    "count": _count,
    "mean": _mean,
    "majority": _majority,
    "merge_objects": _merge_objects,
}

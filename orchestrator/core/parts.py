"""Parts of JSON Lines: which line of which part is item i. Pure.

A million items cost no list: the index holds one number a part, and a part's lines are found when it is looked at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from headrace.schemas.messages import ItemsPart, ItemsRef, ObjectRef

LINES_CACHE_BYTES = 16_777_216
"""Parts whose lines are kept found. At least one is kept, whatever its size."""


@dataclass(frozen=True, slots=True)
class PartsIndex:
    """Where each item of a job lies."""

    parts: tuple[ItemsPart, ...]
    """In the order of the items."""
    _ends: tuple[int, ...] = field(init=False, repr=False)
    """For each part, the number of items up to its end."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(part.items for part in self.parts)))

    @classmethod
    def of(cls, items: ItemsRef) -> PartsIndex:
        """Return the index of a reference."""
        return cls(items.parts)

    @property
    def total(self) -> int:
        """How many items there are."""
        return self._ends[-1] if self._ends else 0

    def locate(self, index: int) -> tuple[int, int]:
        """Return the number of an item's part, and of its line there, both from 0.

        Raises:
            IndexError: there is no such item.
        """
        if not 0 <= index < self.total:
            raise IndexError(f"item {index} of {self.total}")
        part = bisect_right(self._ends, index)
        return part, index - (self._ends[part - 1] if part else 0)


def count_lines(data: bytes) -> int:
    """Return how many lines a part has; a line break at its very end begins no further one."""
    return data.count(b"\n") + (not data.endswith(b"\n"))


class Lines:
    """The lines of one part. A line break at the very end begins no further line.

    Args:
        data: the part.
    """

    __slots__ = ("_starts", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        # Found one by one: `split` would copy the whole part.
        self._starts = array("I", [0])
        end = data.find(b"\n")
        while end >= 0:
            self._starts.append(end + 1)
            end = data.find(b"\n", end + 1)
        if not data.endswith(b"\n"):
            self._starts.append(len(data) + 1)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def line(self, number: int) -> bytes:
        """Return a line without its line break."""
        return self.data[self._starts[number] : self._starts[number + 1] - 1].removesuffix(b"\r")

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return len(self.data) + self._starts.itemsize * len(self._starts)


class LinesCache:
    """Keeps the lines of the parts that were looked at last: by their content, so nothing here can be stale.

    Args:
        capacity_bytes: what the parts may take together; one part more than fits is never kept but for the last.
    """

    def __init__(self, capacity_bytes: int = LINES_CACHE_BYTES) -> None:
        self._capacity_bytes = capacity_bytes
        self._kept: OrderedDict[str, Lines] = OrderedDict()
        self._size_bytes = 0

    def lines(self, ref: ObjectRef, load: Callable[[ObjectRef], bytes]) -> Lines:
        """Return the lines of a part; load it where they are not kept."""
        found = self._kept.get(ref.sha256)
        if found is not None and len(found.data) == ref.size_bytes:
            self._kept.move_to_end(ref.sha256)
            return found
        lines = Lines(load(ref))
        self._kept[ref.sha256] = lines
        self._size_bytes += lines.size_bytes
        while self._size_bytes > self._capacity_bytes and len(self._kept) > 1:
            self._size_bytes -= self._kept.popitem(last=False)[1].size_bytes
        return lines

    @property
    def size_bytes(self) -> int:
        """What is kept."""
        return self._size_bytes

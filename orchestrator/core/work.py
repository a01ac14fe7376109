"""What one rendering may cost: steps of work, and the size of every value it makes. Pure.

A template is written by the author of a workflow, and an inline workflow by whoever may submit a job. Rendering runs
inside the orchestrator's loop, so a template that spins or swells would stop a whole partition. Hence every place
where Jinja2 can loop or allocate is charged *before* it does so; see `sandbox` for how the places are caught.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

MAX_TEXT = 1_000_000
"""Characters of an output, and of any text that is made on the way."""
MAX_RANGE = 10_000
"""The longest ``range``."""
MAX_NODES = 200_000
"""Values in a list or mapping, counted through all levels."""
MAX_DEPTH = 100
"""Levels of lists and mappings."""
MAX_WORK = 250_000
"""Units of one rendering: a turn of a loop, a value that a filter looks at, 256 characters that are copied. A unit
takes up to ten microseconds."""
TASK_WORK = 2 * MAX_WORK
"""Units of all messages of one task: a step may have a thousand."""
EVENT_WORK = 4 * MAX_WORK
"""Units of all that one event evaluates beside tasks: sources and splits of steps that start, the output. A workflow
has room for thousands of templates, and what an event takes is how long every other job waits."""
CONDITION_WORK = EVENT_WORK // 500
"""Units of one condition: all that a workflow has room for do together what one event may."""
MAX_INT_BITS = 256
"""Whole numbers stay below 2 to the power of this."""


class BoundExceeded(Exception):
    """A rendering asked for more than it may have. Becomes a `RenderError` at the seam."""


class Forbidden(Exception):
    """A rendering reached for something that templates do not have. Becomes a `RenderError` at the seam."""


class Work:
    """The work that one rendering, or several together, have left. The only mutable thing here."""

    __slots__ = ("left", "units")

    def __init__(self, units: int = MAX_WORK) -> None:
        self.left = self.units = units

    @property
    def done(self) -> int:
        """Units that were taken."""
        return self.units - self.left

    def charge(self, units: int) -> None:
        """Take units; a rendering that has none left ends."""
        self.left -= units
        if self.left < 0:
            raise BoundExceeded(f"the template does more than {self.units:,} steps of work")

    def charge_value(self, value: Any) -> None:
        """Take what looking at a value once costs."""
        if isinstance(value, str):
            self.charge(1 + len(value) // 256)
        elif isinstance(value, list | tuple | dict | range):
            self.charge(1 + len(value))
        else:
            self.charge(1)

    def charge_parts(self, value: Any) -> None:
        """Take what comparing a value costs: Python looks at lists within lists to the last of their parts."""
        self.charge_value(value)
        stack = [value]
        while stack:
            found = stack.pop()
            parts = found.values() if isinstance(found, dict) else found if isinstance(found, list | tuple) else ()
            for part in parts:
                if isinstance(part, dict | list | tuple):
                    self.charge(1 + len(part))
                    stack.append(part)

    def loop(self, values: Iterable[Any]) -> Iterable[Any]:
        """Return what a loop goes over, paid for; a lazy sequence becomes a list, at most as long as can be paid."""
        if not isinstance(values, list | tuple | dict | range | str):
            values = list(islice(values, self.left + 1))
        self.charge(len(values) + 1)
        return values


def check_text_length(length: int) -> None:
    """Refuse a text before it is made."""
    if length > MAX_TEXT:
        raise BoundExceeded(f"a text of {length:,} characters is above the limit of {MAX_TEXT:,}")


def check_json(value: Any) -> int:
    """Refuse a value that is not JSON or is too large; return about how many characters it is written with.

    Values that share parts are counted as often as they appear: ten lines of ``{% set b = [a, a] %}`` would
    otherwise be a thousand copies once they are written down.
    """
    nodes = chars = 0
    stack: list[tuple[Any, int]] = [(value, 0)]
    while stack:
        entry, depth = stack.pop()
        nodes += 1
        if isinstance(entry, str):
            chars += len(entry) + 2
        elif isinstance(entry, dict | list | tuple):
            if nodes + len(stack) + len(entry) > MAX_NODES or depth >= MAX_DEPTH:
                raise BoundExceeded(f"a value of more than {MAX_NODES:,} parts or {MAX_DEPTH} levels")
            if isinstance(entry, dict):
                stack.extend((part, depth + 1) for part in entry)
                entry = entry.values()
            stack.extend((part, depth + 1) for part in entry)
        elif entry is not None and not isinstance(entry, bool | int | float):
            if hasattr(entry, "_fail_with_undefined_error"):
                str(entry)  # A strict undefined says for itself what is missing.
            raise Forbidden(f"a {type(entry).__name__} is not a JSON value")
    return chars + nodes


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON for a prompt: UTF-8 as it is, nothing escaped for HTML."""
    if indent is not None and not 0 <= indent <= 8:
        raise BoundExceeded("tojson: indent is 0 to 8")
    # An indent writes a line and its margin for each value: at worst MAX_DEPTH x 8 spaces, so levels count.
    check_text_length(check_json(value) * (1 if indent is None else 1 + indent * 4))
    text = _plain_json(value) if indent is None else json.dumps(value, ensure_ascii=False, indent=indent)
    check_text_length(len(text))
    return text


_plain_json = json.JSONEncoder(ensure_ascii=False).encode


def text_of(value: Any) -> Any:
    """Return what a value is written as: texts as they are, everything else as JSON.

    Python's own form (``{'a': None}``) is never what a prompt wants. An undefined value goes through: writing it
    down raises the error that names it.
    """
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float | list | dict | tuple):
        return json_text(value)
    if hasattr(value, "_fail_with_undefined_error"):
        return value
    raise Forbidden(f"a {type(value).__name__} cannot be written into a text")


def join_texts(parts: Iterable[str]) -> str:
    """Join the pieces of an output, stopping at the limit."""
    found: list[str] = []
    total = 0
    for part in parts:
        total += len(part)
        if total > MAX_TEXT:
            raise BoundExceeded(f"the output is above {MAX_TEXT:,} characters")
        found.append(part)
    return "".join(found)


def binary_operation(operator: str, left: Any, right: Any) -> Any:
    """Compute ``*``, ``**``, ``+`` and ``%``, refusing results that are too large before they are made."""
    if _is_number(left) and _is_number(right):
        return _arithmetic(operator, left, right)
    if operator == "+" and type(left) is type(right) and isinstance(left, str | list):
        size = len(left) + len(right)
        if isinstance(left, str):
            check_text_length(size)
        elif size > MAX_NODES:
            raise BoundExceeded(f"a list of {size:,} values is above the limit of {MAX_NODES:,}")
        return left + right
    raise Forbidden(f"{type(left).__name__} {operator} {type(right).__name__} is not available in templates")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    if operator == "+":
        return _bounded(left + right)
    if operator == "%":
        return left % right
    if operator == "*":
        return _bounded(left * right)
    if abs(right) > 64 or (isinstance(left, int) and left.bit_length() * abs(right) > MAX_INT_BITS):
        raise BoundExceeded("a power that is too large")
    return _bounded(left**right)


def _bounded(number: Any) -> Any:
    if isinstance(number, complex) or (isinstance(number, int) and number.bit_length() > MAX_INT_BITS):
        raise BoundExceeded(f"a number above 2 to the power of {MAX_INT_BITS}")
    return number

"""Whether a record of ``state`` is what its dataclass says. Pure.

A number that is a text, or has a hundred digits, would not fail where it is read but much later: in the heap of
timers, in a sum, in the outcome. So each field is checked by its annotation, once, when the record is read.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

MAX_INT = 2**63

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the fields of one dataclass may be."""

    names: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    """Returns the values of these fields."""
    plain: tuple[frozenset[type] | None, ...]
    """The types that a field may have, where that is all there is to check."""
    deep: tuple[Check | None, ...]
    """What else is checked."""


def check_types(record: Any) -> None:
    """Check every field of a record.

    Raises:
        TypeError: a field has another type, or a number is above 64 bits.
    """
    shape = _shape(record.__class__)
    for at, value in enumerate(shape.read(record)):
        allowed = shape.plain[at]
        kind = type(value)
        if allowed is not None:
            holds = kind in allowed and (kind is not int or -MAX_INT <= value < MAX_INT)
        else:
            check = shape.deep[at]
            holds = check is None or check(value)
        if not holds:
            raise TypeError(f"field {shape.names[at]} is no {type(record).__annotations__[shape.names[at]]}")


@cache
def _shape(kind: type[Any]) -> _Shape:
    hints = get_type_hints(kind)
    names = tuple(field.name for field in fields(kind))
    read = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    plain = tuple(_plain(hints[name]) for name in names)
    return _Shape(names, read, plain, tuple(None if hints[name] is Any else _check(hints[name]) for name in names))


def _plain(hint: Any) -> frozenset[type] | None:
    """Return the types of a hint that names types and nothing else."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    named = all(isinstance(part, type) and not hasattr(part, "__dataclass_fields__") for part in parts)
    return frozenset(parts) if named and hint is not Any else None


def _check(hint: Any) -> Check:
    """Return what tells whether a value is of an annotated type."""
    if (allowed := _plain(hint)) is not None:
        return lambda value: type(value) in allowed and (type(value) is not int or -MAX_INT <= value < MAX_INT)
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_check(part) for part in get_args(hint)]
        return lambda value: any(part(value) for part in parts)
    if get_origin(hint) is tuple:
        return _tuple_check(get_args(hint))
    return lambda value: type(value) is hint and _holds(value)


def _holds(record: Any) -> bool:
    try:
        check_types(record)
    except TypeError:
        return False
    return True


def _tuple_check(parts: tuple[Any, ...]) -> Check:
    if len(parts) == 2 and parts[1] is Ellipsis:
        each = _check(parts[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    checks = [_check(part) for part in parts]
    return lambda value: (
        type(value) is tuple
        and len(value) == len(checks)
        and all(check(part) for check, part in zip(checks, value, strict=True))
    )

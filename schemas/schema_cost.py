"""How much work a JSON Schema can make of a value: before a validator, which cannot be stopped, begins. Pure.

A schema comes with a workflow, and an inline workflow from whoever may submit a job. Two kilobytes of ``allOf`` over
``$ref``, each twice, twenty-five deep, keep a validator busy for days (measured: eighteen deep take forty seconds); and
it runs in the orchestrator's loop, and beside a worker's poller. So the evaluations are counted first, from above:

- A keyword that applies to the same value (``allOf``, ``$ref``, …) or to one of its fields (``properties``) is
  evaluated as often as the schema around it.
- One that applies to entries (``items``, ``additionalProperties``, …) is evaluated at most once for each entry that all
  lists, or all mappings, of the whole value have.
- Where that is too rough, or the schema refers to itself, it is followed through the value, pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import unquote

MAX_EVALUATIONS = 5_000_000
"""A validator makes some millions a second."""
MAX_LISTED = 2_000
"""Up to here all findings may be made: one costs a thousand times what an evaluation does (measured: 10 to 75 µs), and
a validator makes all of them before it hands out the first."""
MAX_PAIRS = 200_000
"""Of a part of the schema and a part of the value: following them is slow."""

_SAME = ("not", "if", "then", "else")
_SAME_LISTS = ("allOf", "anyOf", "oneOf")
_OF_LISTS = ("additionalItems", "contains", "items", "unevaluatedItems")
_OF_MAPPINGS = ("additionalProperties", "propertyNames", "unevaluatedProperties")
_REFUSED = ("$dynamicRef", "$recursiveRef")


class _Where(Enum):
    """What a schema within a schema is applied to."""

    SAME = "the value itself"
    LIST = "the entries of a list"
    MAPPING = "the names and values of a mapping"


Place = _Where | str | int
"""Or one field by its name, one entry by its number."""


class TooCostly(ValueError):
    """A schema that could keep a validator busy for long, or whose references cannot be followed."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """Evaluations: each time that the schema is applied, and for each entry of all lists and mappings of a value."""

    each: int = 1
    listed: int = 0
    mapped: int = 0


@dataclass(slots=True)
class _Reading:
    """A schema being looked at."""

    root: Any
    known: dict[int, _Cost] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)


class _Recursive(Exception):
    pass


def evaluations(schema: Any, value: Any) -> int:
    """Return how many evaluations a validator makes at most.

    Raises:
        TooCostly: above `MAX_EVALUATIONS`, or it refers outside itself or in a way that is not read.
    """
    try:
        count = _from_above(schema, value)
        if count > MAX_EVALUATIONS:
            count = _Walk(schema).count(schema, value)
    except RecursionError:
        raise TooCostly("the schema nests too deeply") from None
    if count > MAX_EVALUATIONS:
        raise TooCostly(f"the schema asks for up to {min(count, 10**18):,} checks; the limit is {MAX_EVALUATIONS:,}")
    return count


def first_findings(validator: Any, value: Any, *, text: bytes, count: int) -> Iterator[Any]:
    """Yield what a validator finds in a value that does not hold: as much of it as does not take long.

    Args:
        validator: with ``iter_errors`` and ``validate``, as jsonschema-rs has them.
        text: the schema's JSON.
        count: what `evaluations` says.
    """
    if count <= MAX_LISTED:
        yield from validator.iter_errors(value)
    elif b'"anyOf"' not in text and b'"oneOf"' not in text:  # Their findings hold those of all their branches.
        try:
            validator.validate(value)
        except ValueError as error:
            yield error


def check_references(schema: Any) -> None:
    """Check that every reference can be followed, whatever the value will be.

    Raises:
        TooCostly: one cannot.
    """
    try:
        _cost(schema, _Reading(schema))
    except _Recursive:
        return
    except RecursionError:
        raise TooCostly("the schema nests too deeply") from None


def _cost(schema: Any, reading: _Reading) -> _Cost:
    if not isinstance(schema, dict):
        return _Cost()
    name = id(schema)
    if name in reading.known:
        return reading.known[name]
    if name in reading.open:
        raise _Recursive
    reading.open.add(name)
    each, listed, mapped = 1, 0, 0
    for part, place in _parts(schema, reading.root):
        cost = _cost(part, reading)
        listed += cost.listed + (cost.each if place is _Where.LIST else 0)
        mapped += cost.mapped + (cost.each if place is _Where.MAPPING else 0)
        each += 0 if place in (_Where.LIST, _Where.MAPPING) else cost.each
    reading.open.discard(name)
    reading.known[name] = found = _Cost(each, listed, mapped)
    return found


def _parts(schema: dict[str, Any], root: Any) -> Iterator[tuple[Any, Place]]:
    """Yield the schemas within a schema, and what they are applied to."""
    if schema is not root and "$id" in schema:
        raise TooCostly("a schema within a schema has no $id of its own")
    if any(word in schema for word in _REFUSED):
        raise TooCostly("$dynamicRef is not read; write $ref")
    if "$ref" in schema:
        yield resolve(schema["$ref"], root), _Where.SAME
    for word in _SAME:
        if word in schema:
            yield schema[word], _Where.SAME
    for word in _SAME_LISTS:
        yield from ((part, _Where.SAME) for part in _list(schema.get(word)))
    for word in ("dependentSchemas", "dependencies"):
        yield from ((part, _Where.SAME) for part in _mapping(schema.get(word)).values())
    yield from ((part, name) for name, part in _mapping(schema.get("properties")).items())
    yield from ((part, _Where.MAPPING) for part in _mapping(schema.get("patternProperties")).values())
    yield from ((part, at) for at, part in enumerate(_list(schema.get("prefixItems"))))
    for word in _OF_MAPPINGS:
        if word in schema:
            yield schema[word], _Where.MAPPING
    for word in _OF_LISTS:
        if isinstance(schema.get(word), list):  # As older drafts have it: one schema for each place.
            yield from ((part, at) for at, part in enumerate(schema[word]))
        elif word in schema:
            yield schema[word], _Where.LIST


def _from_above(schema: Any, value: Any) -> int:
    """Return a bound that needs no look at what lies where; above all bounds where the schema refers to itself."""
    try:
        cost = _cost(schema, _Reading(schema))
    except _Recursive:
        return MAX_EVALUATIONS + 1
    listed, mapped = _entries(value)
    return cost.each + cost.listed * listed + cost.mapped * mapped * 2  # Names and values.


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def resolve(ref: Any, root: Any) -> Any:
    """Return what a reference within a schema is to.

    Raises:
        TooCostly: it is no JSON pointer into the schema, or leads nowhere.
    """
    if ref == "#":
        return root
    if not isinstance(ref, str) or not ref.startswith("#/"):
        raise TooCostly(f"{str(ref)[:80]!r} lies outside: a schema may refer to itself only, by #/…")
    found = root
    for part in ref[2:].split("/"):
        name = _unescaped(part)
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdecimal() and int(name[:9]) < len(found):
            found = found[int(name[:9])]
        else:
            raise TooCostly(f"{ref[:80]!r} leads nowhere")
    return found


def _unescaped(part: str) -> str:
    """Return a part of a pointer in a URI fragment as it was (RFC 6901, sections 3 and 6)."""
    return unquote(part).replace("~1", "/").replace("~0", "~")


def _entries(value: Any) -> tuple[int, int]:
    """Return how many entries the lists and the mappings of a value have, at every depth."""
    listed = mapped = 0
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, list):
            listed += len(found)
            stack.extend(part for part in found if isinstance(part, dict | list))
        elif isinstance(found, dict):
            mapped += len(found)
            stack.extend(part for part in found.values() if isinstance(part, dict | list))
    return listed, mapped


class _Walk:
    """Follows a schema that refers to itself through a value. Each pair of both is counted once, and summed often."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int] = {}
        self._left = MAX_PAIRS

    def count(self, schema: Any, value: Any) -> int:
        """Return how many evaluations there are at most."""
        if not isinstance(schema, dict):
            return 1
        pair = (id(schema), id(value))
        if pair in self._known:
            return self._known[pair]
        self._left -= 1
        if self._left < 0:
            raise TooCostly(f"the schema and the value have more than {MAX_PAIRS:,} pairs of parts to compare")
        self._known[pair] = 1  # A reference that leads back to the same value ends there, as in the validator.
        total = 1
        for part, place in _parts(schema, self._root):
            total += sum(self.count(part, one) for one in _applied_to(place, value))
        self._known[pair] = total
        return total


def _applied_to(place: Place, value: Any) -> Iterable[Any]:
    match place:
        case _Where.SAME:
            return [value]
        case _Where.LIST:
            return value if isinstance(value, list) else []
        case _Where.MAPPING:
            return [*value, *value.values()] if isinstance(value, dict) else []
        case str():
            return [value[place]] if isinstance(value, dict) and place in value else []
        case int():
            return [value[place]] if isinstance(value, list) and place < len(value) else []

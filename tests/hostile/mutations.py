"""Turns good messages into hostile ones: bytes that flip, texts that end early, fields of another type, nests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("HEADRACE_FUZZ_EXAMPLES", "0"))
"""For each fuzzer; 0: few, and the same ones at each run, so that nobody's change is red by chance."""
FUZZ = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

DEEP = 150
"""Levels that pydantic's parser still takes (its limit is about 200)."""
_TEXTS = st.sampled_from(
    [
        "",
        " ",
        "\x00",
        "a/b",
        "../..",
        "²",
        "\u202e",
        "\ufffe",
        "é" * 300,
        "x" * 5_000,
        "NaN",
        "null",
        "9" * 400,
        "{{",
        "{{ x }}",
        "{% for",
    ]
)
_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30), 0.5, 1e308, -0.0, float("nan"), float("inf")]
)
SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS, st.text(max_size=20))
VALUES: st.SearchStrategy[Any] = st.one_of(
    SCALARS,
    st.recursive(
        SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(_TEXTS, part, max_size=3), max_leaves=6
    ),
    st.just({}),
    st.just([]),
    st.builds(lambda deep: _nest({}, deep), st.integers(1, DEEP)),
)
_NASTY = st.sampled_from(
    [
        b"\xff",
        b"\x00",
        b'"',
        b"\\",
        b"{",
        b"[",
        b"}",
        b"]",
        b",",
        b":",
        b"\\ud800",
        b"1e999",
        b"NaN",
        b"-",
        b"0",
        b"\xc0\xaf",
        b"[" * 300,
        b"9" * 5_000,
    ]
)


def _nest(value: Any, deep: int) -> Any:
    for level in range(deep):
        value = [value] if level % 2 else {"a": value}
    return value


# ── Bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def _torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with one change."""
    at = draw(st.integers(0, len(data)))
    end = draw(st.integers(at, min(len(data), at + 40)))
    match draw(st.sampled_from(["cut", "insert", "flip", "replace", "repeat", "remove"])):
        case "cut":
            return data[:at]
        case "insert":
            return data[:at] + draw(_NASTY) + data[at:]
        case "flip" if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        case "replace":
            return data[:at] + draw(st.binary(max_size=8)) + data[end:]
        case "repeat":
            return data[:end] + data[at:end] + data[end:]
        case _:
            return data[:at] + data[end:]


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every part of a value."""
    found = [path]
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        found += _places(part, (*path, key))
    return found


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """Return a value with the part at a path changed."""
    if not path:
        return change(value)
    key, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {name: _changed(part, rest, change) if name == key else part for name, part in value.items()}
    return [_changed(part, rest, change) if at == key else part for at, part in enumerate(value)]


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return None
    return _changed(value, path[:-1], lambda whole: _less(whole, path[-1]))


def _less(whole: Any, key: Any) -> Any:
    if isinstance(whole, dict):
        return {name: part for name, part in whole.items() if name != key}
    return [part for at, part in enumerate(whole) if at != key]


@st.composite
def _swapped(draw: st.DrawFn, value: Any) -> Any:
    """Return a JSON value with one part of another type, less, more, twice, deeper, or in another's place."""
    path = draw(st.sampled_from(_places(value)))
    match draw(st.sampled_from(["swap", "swap", "swap", "remove", "add", "nest", "move"])):
        case "swap":
            new = draw(VALUES)
            return _changed(value, path, lambda _old: new)
        case "remove":
            return _without(value, path)
        case "add":
            name, new = draw(st.text(max_size=8)), draw(VALUES)
            return _changed(value, path, lambda old: {**old, name: new} if isinstance(old, dict) else [old, new])
        case "nest":
            deep = draw(st.integers(1, DEEP))
            return _changed(value, path, lambda old: _nest(old, deep))
        case _:
            other = draw(st.sampled_from(_places(value)))
            moved = _part(value, other)
            return _changed(value, path, lambda _old: moved)


def _part(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def hostile(draw: st.DrawFn, *good: bytes) -> bytes:
    """Return one of some good JSON messages with one to three changes, of its value or of its bytes."""
    data = draw(st.sampled_from(good))
    if draw(st.integers(0, 3)):
        value = json.loads(data)
        for _ in range(draw(st.integers(1, 3))):
            value = draw(_swapped(value))
        data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
        if draw(st.integers(0, 3)):
            return data
    return draw(torn(data))


@st.composite
def torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        data = draw(_torn(data))
    return data


# ── Headers ──────────────────────────────────────────────────────────────────────────────────────────────────────

_NAMES = st.sampled_from(
    [
        *(b"x-schema", b"x-schema-version", b"X-Schema", b"x-job-id", b"x-task-id", b"x-attempt", b"x-reply-partition"),
        *(b"x-forwarded-from", b"x-submitted-at-ms", b"x-refused", b"x-content-sha256", b"x-redrives", b"x-repeat"),
        *(b"traceparent", b"tracestate", b"x-unreadable-headers", b"", b"\xff", b"other"),
    ]
)
_CONTENTS = st.one_of(
    st.none(),
    st.sampled_from(
        [b"", b"0", b"1", b"2", b"-1", b"9" * 30, "²".encode(), b"\xff", b"job", b"task", b"h-victim/say/0"]
    ),
    st.sampled_from([b"1:1", b"0" * 64, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"x" * 1_000]),
    st.binary(max_size=12),
)
HEADERS = st.one_of(st.just([]), st.lists(st.tuples(_NAMES, _CONTENTS), max_size=4))

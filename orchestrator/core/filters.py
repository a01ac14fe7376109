"""The filters and tests that templates have: an allow-list, each one charged and bounded. Pure.

Not here, and why: ``random`` (a replay must render alike); ``center``, ``format``, ``wordwrap``, ``batch``, ``slice``
(a width is an allocation); ``escape``, ``safe``, ``urlize``, ``striptags`` (prompts are no HTML); ``attr`` (a way
around the sandbox); ``pprint``, ``xmlattr``, ``filesizeformat``, ``groupby`` (their values are no JSON).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from headrace.orchestrator.core.work import (
    MAX_NODES,
    BoundExceeded,
    Work,
    check_json,
    check_text_length,
    join_texts,
    json_text,
    text_of,
)

WORK = "#work"
"""Where a rendering's `Work` lies in its context; no template can spell the name."""
LOOP_FILTER = "#loop"
CONCAT_FILTER = "#concat"
LITERAL_FILTER = "#literal"
LOOK_FILTER = "#look"
COMPARE_FILTER = "#compare"

_BUILTIN: Mapping[str, Callable[..., Any]] = dict(FILTERS)
_JINJA_FILTERS = (
    *("abs", "capitalize", "default", "d", "dictsort", "first", "float", "int", "items", "last", "length", "count"),
    *("list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr"),
    *("sort", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount"),
)
_CONSTANT = ("count", "d", "default", "first", "length")
"""Filters that cost the same whatever they are given."""
_COMPARING = ("dictsort", "max", "min", "sort")
"""Filters that compare the parts of what they are given."""
_JINJA_TESTS = (
    *("boolean", "defined", "divisibleby", "even", "false", "float", "integer", "iterable", "mapping"),
    *("none", "number", "odd", "sequence", "string", "true", "undefined"),
)
_COMPARING_TESTS = (
    *("==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan", "<=", "le"),
)


def work_of(context: Context) -> Work:
    """Return the work that this rendering has left."""
    work: Work = context.parent[WORK]
    return work


def _charged(function: Callable[..., Any], *, constant: bool = False, comparing: bool = False) -> Callable[..., Any]:
    """Wrap one of Jinja2's filters so that it pays for the value it looks at, or one unit where it does not look."""
    kind = getattr(function, "jinja_pass_arg", None)
    wants = None if kind is None else kind.name

    @pass_context
    def filter_paid_for(context: Context, value: Any = "", *args: Any, **named: Any) -> Any:
        work = work_of(context)
        if constant:
            work.charge(1)
        elif comparing:
            work.charge_parts(value)
        else:
            work.charge_value(value)
        if wants == "context":
            return function(context, value, *args, **named)
        if wants == "environment":
            return function(context.environment, value, *args, **named)
        if wants == "eval_context":
            return function(context.eval_ctx, value, *args, **named)
        return function(value, *args, **named)

    return filter_paid_for


@pass_context
def _loop(context: Context, values: Iterable[Any]) -> Iterable[Any]:
    return work_of(context).loop(values)


@pass_context
def _concat(context: Context, parts: list[Any]) -> str:
    """What ``a ~ b`` compiles to: Jinja2 would join first and be asked for the size never."""
    texts = [_text(context, part) for part in parts]
    check_text_length(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _literal(context: Context, value: Any) -> Any:
    """What ``[a, b]`` and ``{"k": a}`` compile to: nesting by name doubles with each line."""
    work_of(context).charge(1 + check_json(value) // 4)
    return value


@pass_context
def _look(context: Context, value: Any) -> Any:
    """What a slice looks at: ``[1:]`` copies a list."""
    work_of(context).charge_value(value)
    return value


@pass_context
def _compare(context: Context, value: Any) -> Any:
    """What a comparison looks at: ``==`` and ``in`` go through lists within lists."""
    work_of(context).charge_parts(value)
    return value


def _comparing(test: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap one of Jinja2's tests that compare, so that it pays for both sides."""

    @pass_context
    def test_paid_for(context: Context, value: Any, other: Any) -> Any:
        work = work_of(context)
        work.charge_parts(value)
        work.charge_parts(other)
        return test(value, other)

    return test_paid_for


def _text(context: Context, value: Any) -> str:
    """Return a value as text, paid for: writing JSON costs more than copying a text."""
    text = str(text_of(value))
    work_of(context).charge(1 + len(text) // (256 if isinstance(value, str) else 4))
    return text


@pass_context
def _join(context: Context, values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    work = work_of(context)
    if attribute is not None:
        values = _BUILTIN["map"](context, values, attribute=attribute)
    texts: list[str] = []
    for value in work.loop(values):
        texts += [separator, _text(context, value)] if texts else [_text(context, value)]
    text = join_texts(texts)
    work.charge(len(text) // 256)
    return text


@pass_context
def _replace(context: Context, text: Any, old: str, new: str) -> str:
    text = _text(context, text)
    size = len(text) + text.count(old) * (len(new) - len(old))
    check_text_length(size)
    work_of(context).charge(1 + max(size, len(text)) // 256)
    replaced: str = text.replace(old, new)
    return replaced


@pass_context
def _indent(context: Context, text: Any, width: int = 4, first: bool = False) -> str:
    text = _text(context, text)
    if not 0 <= width <= 64:
        raise BoundExceeded("indent: width is 0 to 64")
    check_text_length(len(text) + (text.count("\n") + 1) * width)
    work_of(context).charge(1 + len(text) // 64)
    margin = " " * width
    indented: str = (margin if first else "") + text.replace("\n", "\n" + margin)
    return indented


@pass_context
def _tojson(context: Context, value: Any, indent: int | None = None) -> str:
    text = json_text(value, indent=indent)
    work_of(context).charge(1 + len(text) // 4)
    return text


@pass_context
def _string(context: Context, value: Any) -> str:
    return _text(context, value)


@pass_context
def _sum(context: Context, values: Iterable[Any], attribute: str | None = None) -> Any:
    """Numbers only: summing lists copies the result for each of them."""
    if attribute is not None:
        values = _BUILTIN["map"](context, values, attribute=attribute)
    numbers = list(work_of(context).loop(values))
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("sum takes numbers")
    return sum(numbers)


@pass_context
def _lines(context: Context, text: str) -> list[str]:
    work_of(context).charge_value(text)
    if text.count("\n") > MAX_NODES:
        raise BoundExceeded(f"more than {MAX_NODES:,} lines")
    return text.split("\n")


FILTERS_ALLOWED: Mapping[str, Callable[..., Any]] = {
    **{
        name: _charged(_BUILTIN[name], constant=name in _CONSTANT, comparing=name in _COMPARING)
        for name in _JINJA_FILTERS
    },
    "indent": _indent,
    "join": _join,
    "lines": _lines,
    "replace": _replace,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
    LOOP_FILTER: _loop,
    CONCAT_FILTER: _concat,
    LITERAL_FILTER: _literal,
    LOOK_FILTER: _look,
    COMPARE_FILTER: _compare,
}
"""By name; those whose name begins with ``#`` are written by `sandbox` and cannot be spelled in a template."""

_BUILTIN_TESTS: Mapping[str, Callable[..., Any]] = dict(TESTS)  # type: ignore[arg-type]
TESTS_ALLOWED: Mapping[str, Callable[..., Any]] = {
    **{name: _BUILTIN_TESTS[name] for name in _JINJA_TESTS},
    **{name: _comparing(_BUILTIN_TESTS[name]) for name in _COMPARING_TESTS},
}
"""By name."""

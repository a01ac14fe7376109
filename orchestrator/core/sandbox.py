"""The Jinja2 environment that templates run in. Pure; made once.

Jinja2's own sandbox keeps a template from Python's insides. It does not keep it from spinning or swelling, so
three more fences stand here:

1. syntax: an allow-list of node kinds, and a bound on nesting (`check_syntax`);
2. places: loops, ``~``, lists and mappings written in a template are rewritten into filters that charge for them
   (`rewrite`), and ``* ** + %`` are intercepted;
3. values: attributes go to an allow-list of methods, output is counted while it grows, filters are `filters`'.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from headrace.orchestrator.core.filters import (
    COMPARE_FILTER,
    CONCAT_FILTER,
    FILTERS_ALLOWED,
    LITERAL_FILTER,
    LOOK_FILTER,
    LOOP_FILTER,
    TESTS_ALLOWED,
    work_of,
)
from headrace.orchestrator.core.work import (
    MAX_RANGE,
    BoundExceeded,
    Forbidden,
    binary_operation,
    join_texts,
    text_of,
)

MAX_SYNTAX_DEPTH = 60
"""How deep a template's syntax may nest; Python's own compiler gives up soon after."""

_METHODS: dict[type, tuple[str, ...]] = {
    str: (
        *("capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isupper"),
        *("lower", "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper"),
    ),
    dict: ("get", "items", "keys", "values"),
    list: ("count", "index"),
}
_LOOP = ("index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem", "cycle")

_ALLOWED_NODES: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.With),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Slice),
    *(nodes.Getattr, nodes.Getitem, nodes.Call, nodes.Filter, nodes.Test, nodes.CondExpr, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr, nodes.TemplateData),
)
_WORDS = {
    "MarkSafe": "autoescape",
    "ScopedEvalContextModifier": "autoescape",
    "FromImport": "from",
    "AssignBlock": "set … endset",
}


class Missing(StrictUndefined):
    """A value that is not there: using it says what is, so that a typing error is seen at once."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        name, owner = self._undefined_name, self._undefined_obj
        if isinstance(owner, dict):
            known = ", ".join(sorted(str(key)[:40] for key in list(owner)[:20])) or "none"
            return f"there is no field {name!r} (fields: {known})"
        if isinstance(owner, list | tuple | str):
            return f"there is no entry {name!r} in a {type(owner).__name__} of {len(owner)}"
        if owner is None or isinstance(owner, bool | int | float):
            return f"a {type(owner).__name__} has no field {name!r}"
        return f"{name!r} is not known here"


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox with allow-lists in place of deny-lists."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])
    concat = staticmethod(join_texts)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``a.b``: a field before a method (``input.items`` is the field), and methods by allow-list."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Undefined):
            return getattr(obj, attribute)  # A strict undefined raises the error that names it.
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        if attribute in _METHODS.get(type(obj), ()):
            return getattr(obj, attribute)
        if hasattr(type(obj), attribute):
            raise Forbidden(f"{attribute!r} of a {type(obj).__name__} is not available in templates")
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``a[b]``: entries only, never an attribute."""
        if isinstance(obj, Undefined):
            return obj[argument]
        if not isinstance(obj, dict | list | tuple | str):
            return self.undefined(obj=obj, name=argument)
        try:
            return obj[argument]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **named: Any) -> Any:
        """``a.b(c)``: a method pays for the value it looks at."""
        owner, work = getattr(obj, "__self__", None), work_of(context)
        if isinstance(owner, list):  # ``count`` and ``index`` compare.
            work.charge_parts(owner)
        else:
            work.charge_value(owner)
        return super().call(context, obj, *args, **named)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
        """The operators that can make something large."""
        for operand in (left, right):
            if isinstance(operand, Undefined):
                str(operand)
        return binary_operation(operator, left, right)


def bounded_range(*bounds: int) -> range:
    """``range``, at most `MAX_RANGE` long."""
    numbers = range(*bounds)
    try:
        fits = len(numbers) <= MAX_RANGE
    except OverflowError:
        fits = False
    if not fits:
        raise BoundExceeded(f"a range of more than {MAX_RANGE:,} numbers")
    return numbers


def make_sandbox() -> Sandbox:
    """Return the environment: no loader, no extensions, nothing but the allow-lists."""
    sandbox = Sandbox(
        undefined=Missing, autoescape=False, keep_trailing_newline=True, finalize=text_of, cache_size=0, loader=None
    )
    sandbox.globals.clear()
    sandbox.globals["range"] = bounded_range
    sandbox.filters.clear()
    sandbox.filters.update(FILTERS_ALLOWED)
    sandbox.tests.clear()
    sandbox.tests.update(TESTS_ALLOWED)
    return sandbox


def check_syntax(tree: nodes.Template) -> list[str]:
    """Return what a template uses that templates do not have; an empty list where all is well."""
    found: list[str] = []
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_SYNTAX_DEPTH:
            return [*found, f"it nests deeper than {MAX_SYNTAX_DEPTH} levels"]
        if problem := _forbidden(node):
            found.append(f"line {node.lineno}: {problem}")
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())
    return found[:20]


def _forbidden(node: nodes.Node) -> str | None:
    if not isinstance(node, _ALLOWED_NODES):
        kind = type(node).__name__
        return f"'{_WORDS.get(kind, kind.lower())}' is not available in templates"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop is not available in templates"
    if isinstance(node, nodes.Getattr) and node.attr.startswith("__"):
        return f"{node.attr!r} is not available in templates"
    if isinstance(node, nodes.Name) and (
        node.name.startswith("_") or node.name in ("self", "caller", "varargs", "kwargs")
    ):
        return f"{node.name!r} is not available in templates"
    return None


class _Charges(NodeTransformer):
    """Puts the charging filters where loops run and where texts, lists and mappings are made."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through(LOOP_FILTER, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through(CONCAT_FILTER, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _looked_at(node.expr, COMPARE_FILTER)
        for operand in node.ops:
            operand.expr = _looked_at(operand.expr, COMPARE_FILTER)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _looked_at(node.node, LOOK_FILTER)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._literal(node, node.items)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._literal(node, node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        if node.ctx == "store":
            return node
        return self._literal(node, node.items)

    def _literal(self, node: nodes.Expr, parts: Iterable[nodes.Node]) -> nodes.Node:
        self.generic_visit(node)
        if all(isinstance(part, nodes.Const) for part in parts):
            return node
        return _through(LITERAL_FILTER, node)


def _looked_at(node: nodes.Expr, charge: str) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _through(charge, node)


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def rewrite(tree: nodes.Template, sandbox: Sandbox) -> nodes.Template:
    """Return the template with the charging filters in their places."""
    rewritten: nodes.Template = _Charges().visit(tree)
    rewritten.set_environment(sandbox)
    return rewritten

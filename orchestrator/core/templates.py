"""Templates: Jinja2 in a sandbox with allow-lists and bounds, compiled once. Pure.

A text that is one expression and nothing else (``"{{ input.messages }}"``) has two faces: `render` writes it down,
`evaluate` keeps its value, so that lists stay lists on their way through a workflow. White space around the expression
does not count, since a YAML block ends in a line break that nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, UndefinedError, meta, nodes
from jinja2.environment import Template
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, Undefined

from headrace.orchestrator.core.filters import WORK
from headrace.orchestrator.core.sandbox import check_syntax, make_sandbox, rewrite
from headrace.orchestrator.core.work import EVENT_WORK, BoundExceeded, Forbidden, Work, check_json, join_texts
from headrace.schemas.errors import ErrorKind, HeadraceError

MAX_SOURCE = 65_536
"""Characters of one template. A longer text belongs into the input, which is stored once."""
MAX_STRUCTURE_DEPTH = 32

_SANDBOX = make_sandbox()
_GLOBALS: dict[str, Any] = dict(_SANDBOX.globals)
_VALUE = "_value"

Root = Callable[[Context], Iterator[str]]


class TemplateInvalid(HeadraceError):
    """A template that does not compile, or uses what templates may not."""


class RenderError(HeadraceError):
    """A template that cannot be rendered with these values. `kind` goes to the failure."""

    def __init__(self, message: str, hint: str = "", *, kind: ErrorKind = ErrorKind.INVALID_INPUT) -> None:
        super().__init__(message, hint)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class CompiledTemplate:
    """A template, ready to run."""

    references: tuple[str, ...]
    """The names it reads, sorted."""
    text: Root
    """Writes it down."""
    value: Root | None
    """Computes its value; None where it is a text and not one expression."""
    literal: bool
    """It has no expression at all."""
    path: bool
    """Its expression only walks into a value (``input.a[0]``), so what it finds is JSON already."""


def render(source: str, context: Mapping[str, Any], *, step: str = "", work: Work | None = None) -> str:
    """Return the text of a template.

    Args:
        source: the template (compiled once, then cached by its source).
        context: ``input``, and what the step may see: ``item``, ``index``, ``items``, outputs of steps.
        step: for the message of an error.
        work: what several renderings may do together; None: `MAX_WORK` for this one.

    Raises:
        RenderError: a value is missing, has the wrong type, or a bound is exceeded.
        TemplateInvalid: the template does not compile; the workflow's check has refused those.
    """
    template = compile_template(source)
    if template.literal:
        return source
    try:
        return join_texts(template.text(_context(context, work)))
    except Exception as error:  # The author's expressions: whatever they raise is a failure of the template.
        raise _render_error(error, step) from None


def evaluate(source: str, context: Mapping[str, Any], *, step: str = "", work: Work | None = None) -> Any:
    """Return the value of a template: of one expression its native value, of mixed text a text.

    Raises:
        RenderError: as `render`; also a value that is not JSON (a method, for example).
        TemplateInvalid: as `render`.
    """
    template = compile_template(source)
    if template.value is None:
        return render(source, context, step=step, work=work)
    try:
        return _value_of(template, _context(context, work))
    except Exception as error:  # As in render.
        raise _render_error(error, step) from None


def evaluate_structure(structure: Any, context: Mapping[str, Any], *, step: str = "", work: Work | None = None) -> Any:
    """Return a structure with each of its texts evaluated; mappings and lists keep their shape.

    Args:
        work: what all of them may do together; None: `EVENT_WORK`.

    Raises:
        RenderError: as `evaluate`.
        TemplateInvalid: as `evaluate`.
    """
    work = work or Work(EVENT_WORK)
    if isinstance(structure, str):
        return evaluate(structure, context, step=step, work=work)
    if isinstance(structure, dict):
        return {key: evaluate_structure(part, context, step=step, work=work) for key, part in structure.items()}
    if isinstance(structure, list):
        return [evaluate_structure(part, context, step=step, work=work) for part in structure]
    return structure


def references(source: str) -> tuple[str, ...]:
    """Return the names that a template reads, sorted.

    Raises:
        TemplateInvalid: it does not compile.
    """
    return compile_template(source).references


def is_expression(source: str) -> bool:
    """Return whether a template is one expression and nothing else.

    Raises:
        TemplateInvalid: it does not compile.
    """
    return compile_template(source).value is not None


def syntax_of(source: str) -> nodes.Template:
    """Return the syntax of a template that compiles, for those who look at how it uses its names.

    Raises:
        TemplateInvalid: it does not compile.
    """
    compile_template(source)
    return _SANDBOX.parse(source)


def only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression of a template that is one and nothing else; None of any other."""
    return _only_expression(tree)


@lru_cache(maxsize=4096)
def compile_template(source: str) -> CompiledTemplate:
    """Compile a template, or take it from the cache (the least recently used of 4,096 goes).

    Raises:
        TemplateInvalid: with every forbidden construct, or the first error of syntax.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateInvalid(f"a template of {len(source):,} characters is above the limit of {MAX_SOURCE:,}")
    try:
        return _compile(source)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(f"line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise TemplateInvalid("it nests too deeply") from None
    except (SyntaxError, ValueError, OverflowError, MemoryError, TypeError) as error:
        raise TemplateInvalid(f"it does not compile: {error}"[:300]) from None


def _compile(source: str) -> CompiledTemplate:
    tree = _SANDBOX.parse(source)
    if problems := check_syntax(tree):
        raise TemplateInvalid("; ".join(problems))
    names = sorted(meta.find_undeclared_variables(tree))
    expression = _only_expression(tree)
    value = None if expression is None else _root(_assignment(_only_expression(_SANDBOX.parse(source))))
    return CompiledTemplate(
        references=tuple(name for name in names if name not in _GLOBALS),
        text=_root(tree),
        value=value,
        literal=all(isinstance(part, nodes.TemplateData) for part in _parts(tree)) and _only_data(tree, source),
        path=expression is not None and _is_path(expression),
    )


def _parts(tree: nodes.Template) -> list[nodes.Node]:
    """The pieces of a template at its top level."""
    found: list[nodes.Node] = []
    for node in tree.body:
        found.extend(node.nodes if isinstance(node, nodes.Output) else [node])
    return found


def _only_data(tree: nodes.Template, source: str) -> bool:
    """Whether the text is the source as it stands: no comment, no raw block, no line break that Jinja2 normalised."""
    return "".join(part.data for part in _parts(tree) if isinstance(part, nodes.TemplateData)) == source


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    parts = [part for part in _parts(tree) if not (isinstance(part, nodes.TemplateData) and not part.data.strip())]
    if len(parts) == 1 and isinstance(parts[0], nodes.Expr) and not isinstance(parts[0], nodes.TemplateData):
        return parts[0]
    return None


def _is_path(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
            return False
        node = node.node
    return isinstance(node, nodes.Name)


def _assignment(expression: nodes.Expr | None) -> nodes.Template:
    assert expression is not None
    return nodes.Template([nodes.Assign(nodes.Name(_VALUE, "store"), expression, lineno=1)], lineno=1)


def _root(tree: nodes.Template) -> Root:
    code = _SANDBOX.compile(rewrite(tree, _SANDBOX))
    root: Root = Template.from_code(_SANDBOX, code, _GLOBALS).root_render_func
    return root


class _Context(Context):
    """A context of a template without blocks. Jinja2's own makes an evaluation context each time, for automatic
    escaping and extensions; none of the sandbox's templates has either, so all share one.
    """

    def __init__(self, parent: dict[str, Any]) -> None:
        self.parent = parent
        self.vars = {}
        self.environment = _SANDBOX
        self.eval_ctx = _EVALUATION
        self.exported_vars = set()
        self.name = None
        self.globals_keys = set()
        self.blocks = {}


_EVALUATION = EvalContext(_SANDBOX)


def _context(values: Mapping[str, Any], work: Work | None) -> Context:
    return _Context({**_GLOBALS, **values, WORK: work or Work()})


def _value_of(template: CompiledTemplate, context: Context) -> Any:
    assert template.value is not None
    for _ in template.value(context):
        pass
    value = context.vars[_VALUE]
    if template.path and (value is None or type(value) in (str, int, float, bool, list, dict)):
        return value
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, str | bool | int | float | dict | list | None):
        if callable(value) or not hasattr(value, "__iter__"):
            raise Forbidden(f"a {type(value).__name__} is not a value")
        value = list(context.parent[WORK].loop(value))
    check_json(value)
    return value


def _render_error(error: Exception, step: str) -> RenderError:
    where = f"step {step}: " if step else ""
    if isinstance(error, RenderError):
        return error
    if isinstance(error, BoundExceeded):
        return RenderError(f"{where}{error}", kind=ErrorKind.TOO_LARGE)
    if isinstance(error, RecursionError):
        return RenderError(f"{where}the template nests too deeply", kind=ErrorKind.TOO_LARGE)
    if isinstance(error, UndefinedError | Forbidden):
        return RenderError(f"{where}{error}")
    return RenderError(f"{where}the template failed: {type(error).__name__}: {error}"[:500])

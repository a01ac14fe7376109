"""A nested workflow of a document becomes a `NestedPlan`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from headrace.orchestrator.core.call_compiler import Needs
from headrace.orchestrator.core.nested_plan import NestedPlan
from headrace.orchestrator.core.scope import Scope
from headrace.orchestrator.core.template_uses import texts_of
from headrace.orchestrator.core.workflow_ref import parse_workflow_ref
from headrace.schemas.errors import DecodeError
from headrace.schemas.workflow_nesting import NestedSpec


class Named(Protocol):
    """A compiled workflow, as far as it matters here."""

    @property
    def ref(self) -> str: ...

    @property
    def yields_confidential(self) -> bool: ...


CompileInline = Callable[[str, dict[str, Any]], Named | None]
"""Compiles a workflow that is written out in another, at its place; None where it does not hold, which is noted."""


def compile_nested(
    scope: Scope, path: str, spec: NestedSpec, local: tuple[str, ...], compile_inline: CompileInline
) -> tuple[NestedPlan, Needs]:
    """Return the nested workflow, and the steps that its input refers to.

    Args:
        local: names that its templates know beside the input and the steps.
    """
    needs: Needs = ()
    texts: list[str] = []
    for name, part in spec.input.items():
        for text in texts_of(part):
            needs += scope.names(f"{path}.input.{name}", text, local=local)
            texts.append(text)
    ref, document, closed = _which(scope, path, spec, compile_inline)
    plan = NestedPlan(
        ref=ref,
        document=document,
        input=spec.input,
        texts=tuple(texts),
        closed=closed,
        tokens=spec.budget.tokens if spec.budget else None,
        microusd=spec.budget.microusd if spec.budget else None,
    )
    return plan, needs


def _which(
    scope: Scope, path: str, spec: NestedSpec, compile_inline: CompileInline
) -> tuple[str, dict[str, Any] | None, bool]:
    if (spec.name is None) == (spec.inline is None):
        scope.problems.add(path, "a nested workflow needs either name, or inline")
        return "", None, False
    if spec.inline is not None:
        document = {"name": "inline", "version": 1, **spec.inline}
        graph = compile_inline(f"{path}.inline", document)
        return ("", document, False) if graph is None else (graph.ref, document, graph.yields_confidential)
    assert spec.name is not None
    try:
        wanted = parse_workflow_ref(spec.name)
    except DecodeError as error:
        scope.problems.add(f"{path}.name", f"{error.message}: {error.hint}")
        return "", None, False
    if wanted.version is None:
        scope.problems.add(f"{path}.name", f"say which version: {wanted.name}@1, for example")
    return str(wanted), None, False

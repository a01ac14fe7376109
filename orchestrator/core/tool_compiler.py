"""A call of a tool of a document becomes a `ToolPlan`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.orchestrator.core.call_compiler import Needs
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.scope import Scope
from headrace.orchestrator.core.template_uses import texts_of
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_calls import ToolCallSpec


def compile_tool(
    scope: Scope, tools: Mapping[str, ToolSpec] | None, path: str, spec: ToolCallSpec, local: tuple[str, ...]
) -> tuple[ToolPlan, Needs]:
    """Return the call, and the steps that its arguments refer to.

    Args:
        tools: the tools there are; None leaves them unchecked.
        local: names that its templates know beside the input and the steps.
    """
    needs: Needs = ()
    for name, argument in spec.arguments.items():
        for text in texts_of(argument):
            needs += scope.names(f"{path}.arguments.{name}", text, local=local)
    if tools is None:
        return ToolPlan(spec.name, "", spec.arguments), needs
    tool = tools.get(spec.name)
    if tool is None:
        scope.problems.add(f"{path}.name", f"unknown tool {spec.name[:80]!r}{suggestion(spec.name, tools)}")
        return ToolPlan(spec.name, "", spec.arguments), needs
    _check_names(scope, path, spec, tool)
    return tool_plan(spec.name, tool, spec.arguments), needs


def tool_plan(name: str, tool: ToolSpec, arguments: dict[str, Any]) -> ToolPlan:
    """Return a call of a tool that is there.

    Args:
        arguments: a structure of templates.
    """
    return ToolPlan(
        name=name,
        pool=tool.pool or f"tool-{tool.kind}",
        arguments=arguments,
        schema=tool.arguments,
        repeatable=tool.repeatable,
        public=tool.public,
        timeout_ms=max(1, round(tool.timeout_s * 1000)),
        price_microusd=tool.price_microusd,
    )


def _check_names(scope: Scope, path: str, spec: ToolCallSpec, tool: ToolSpec) -> None:
    """Note arguments that the tool's schema has no place for, and those that it misses: values are checked later."""
    known, required = tool.argument_names(), tool.arguments.get("required", ())
    if tool.arguments.get("additionalProperties") is False:
        for name in spec.arguments:
            if name not in known:
                message = f"tool {spec.name} has no argument {name[:80]!r}{suggestion(name, known)}"
                scope.problems.add(f"{path}.arguments", message)
    for name in required if isinstance(required, list | tuple) else ():
        if name not in spec.arguments:
            scope.problems.add(f"{path}.arguments", f"tool {spec.name} needs the argument {str(name)[:80]!r}")

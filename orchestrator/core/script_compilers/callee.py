"""What a branch or a planned task calls: ``llm`` or ``tool``."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.scripts.plans import Callee
from headrace.orchestrator.core.tool_compiler import compile_tool
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_patterns import BranchSpec
from headrace.schemas.workflow_plans import AllowedSpec


def callee(
    calls: CallCompiler,
    tools: Mapping[str, ToolSpec] | None,
    path: str,
    spec: BranchSpec | AllowedSpec,
    local: tuple[str, ...] = (),
) -> tuple[Callee | None, Needs]:
    """Return what is called, None where nothing is, and the steps that it refers to.

    Args:
        local: names that its templates know beside the input and the steps.
    """
    if spec.llm is not None and spec.tool is not None:
        calls.scope.problems.add(path, "llm and tool do not go together: use one of them")
    if spec.llm is not None:
        return calls.llm(f"{path}.llm", spec.llm, local)
    if spec.tool is not None:
        return compile_tool(calls.scope, tools, f"{path}.tool", spec.tool, local)
    return None, ()

"""``saga`` of a document."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.document import RESERVED
from headrace.orchestrator.core.scripts.saga_plan import SagaEntry, SagaPlan
from headrace.orchestrator.core.tool_compiler import compile_tool
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_sagas import SagaEntrySpec


def saga(
    calls: CallCompiler, tools: Mapping[str, ToolSpec] | None, path: str, spec: list[SagaEntrySpec]
) -> tuple[SagaPlan, Needs]:
    """Return the plan of a saga, and the steps that it refers to."""
    entries: list[SagaEntry] = []
    needs: Needs = ()
    known: tuple[str, ...] = ()
    problems = calls.scope.problems
    for at, each in enumerate(spec):
        place = f"{path}.{at}"
        if each.name in known:
            problems.add(f"{place}.name", f"{each.name!r} stands in this saga already")
        elif each.name in RESERVED:
            problems.add(f"{place}.name", f"{each.name!r} has a meaning in templates; choose another name")
        tool, more = compile_tool(calls.scope, tools, f"{place}.tool", each.tool, known)
        needs += more
        known += (each.name,)
        compensate = None
        if each.compensate is not None:
            compensate, more = compile_tool(calls.scope, tools, f"{place}.compensate", each.compensate, known)
            needs += more
            if tools is not None and each.compensate.name in tools and not compensate.repeatable:
                message = f"tool {each.compensate.name} is not declared idempotent: a compensation must be repeatable"
                problems.add(f"{place}.compensate", message)
        entries.append(SagaEntry(each.name, tool, compensate))
    return SagaPlan(tuple(entries)), needs

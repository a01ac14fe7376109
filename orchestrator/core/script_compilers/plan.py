"""``plan`` of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.document import check_schema_at
from headrace.orchestrator.core.llm_plan import MessageTemplate
from headrace.orchestrator.core.script_compilers.answer import answer_schema
from headrace.orchestrator.core.script_compilers.callee import callee
from headrace.orchestrator.core.scripts.plans import AllowedCall, PlannedPlan
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_plans import AllowedSpec, PlanSpec

_REPAIR = (
    "{% if plan is not none %}Your plan was: {{ plan }}\n{% endif %}It does not hold: {{ problem }}\n"
    "Give the whole plan again, so that it holds."
)


def plan(
    calls: CallCompiler, tools: Mapping[str, ToolSpec] | None, path: str, spec: PlanSpec
) -> tuple[PlannedPlan, Needs]:
    """Return the plan of a planned step, and the steps that it refers to."""
    planner, needs = calls.llm(path, spec, ("allowed", "max_tasks"))
    if spec.output is not None:
        calls.scope.problems.add(f"{path}.output", "a plan's answer is a list of what is allowed: leave output out")
    allowed: dict[str, AllowedCall] = {}
    for name, each in spec.allowed.items():
        call, more = callee(calls, tools, f"{path}.allowed.{name}", each, ("args", "needs", "index"))
        needs += more
        if each.args is not None:
            check_schema_at(f"{path}.allowed.{name}.args", each.args, calls.scope.problems)
        if call is None:
            calls.scope.problems.add(f"{path}.allowed.{name}", "it needs llm or tool: what a task of this name does")
            continue
        allowed[name] = AllowedCall(call, _args(each), each.description)
    planner = replace(planner, output_schema=_schema(allowed, spec.max_tasks))
    repair = replace(planner, messages=(*planner.messages, MessageTemplate("user", _REPAIR)))
    return PlannedPlan(planner, repair, allowed, spec.max_tasks, spec.max_depth), needs


def _args(spec: AllowedSpec) -> dict[str, Any]:
    return answer_schema(instructions={"type": "string"}) if spec.args is None else spec.args


def _schema(allowed: dict[str, AllowedCall], max_tasks: int) -> dict[str, Any]:
    """Return what a plan looks like: each task with its name, the arguments of that name, and what it needs."""
    numbers = {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": max_tasks},
        "description": "numbers, from 0, of earlier tasks whose outputs this one needs",
    }
    kinds = [
        answer_schema(name={"type": "string", "enum": [name]}, args=each.args, needs=numbers)
        for name, each in allowed.items()
    ]
    tasks = {"type": "array", "maxItems": max_tasks, "items": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}
    return answer_schema(tasks=tasks)

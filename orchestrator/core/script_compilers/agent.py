"""``agent`` of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.document import check_schema_at
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.tool_compiler import tool_plan
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.schemas.messages import ToolOffer
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_agents import AgentSpec


def agent(
    calls: CallCompiler, tools: Mapping[str, ToolSpec] | None, path: str, spec: AgentSpec
) -> tuple[AgentPlan, Needs]:
    """Return the plan of an agent, and the steps that it refers to."""
    turn, needs = calls.llm(path, spec)
    problems = calls.scope.problems
    allowed: dict[str, ToolPlan] = {}
    offers: list[ToolOffer] = []
    for at, name in enumerate(spec.tools):
        place = f"{path}.tools.{at}"
        if name in allowed:
            problems.add(place, f"tool {name[:80]!r} stands here already")
            continue
        allowed[name] = ToolPlan(name, "", {})
        if tools is None:
            offers.append(ToolOffer(name=name, arguments={"type": "object"}))
        elif (tool := tools.get(name)) is None:
            problems.add(place, f"unknown tool {name[:80]!r}{suggestion(name, tools)}")
        else:
            allowed[name] = tool_plan(name, tool, {})
            calls.pool(place, allowed[name].pool)
            check_schema_at(place, tool.arguments, problems)
            offers.append(ToolOffer(name=name, description=tool.description, arguments=tool.arguments))
    turn = replace(turn, tools=tuple(offers))
    last = replace(turn, tool_choice="none")
    plan = AgentPlan(turn, last, allowed, spec.max_turns, spec.max_calls, spec.max_parallel, spec.answer_characters)
    return plan, needs

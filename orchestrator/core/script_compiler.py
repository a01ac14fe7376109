"""A pattern of a document becomes a script. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.script_compilers.agent import agent
from headrace.orchestrator.core.script_compilers.cascade import cascade
from headrace.orchestrator.core.script_compilers.plan import plan
from headrace.orchestrator.core.script_compilers.refine import refine
from headrace.orchestrator.core.script_compilers.route import route
from headrace.orchestrator.core.script_compilers.saga import saga
from headrace.orchestrator.core.script_compilers.vote import vote
from headrace.orchestrator.core.scripts.plans import Script
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow import StepSpec


def compile_script(
    calls: CallCompiler, tools: Mapping[str, ToolSpec] | None, path: str, spec: StepSpec
) -> tuple[Script | None, Needs]:
    """Return a step's script, None where it has none, and the steps that it refers to."""
    if spec.route is not None:
        return route(calls, tools, f"{path}.route", spec.route)
    if spec.cascade is not None:
        return cascade(calls, f"{path}.cascade", spec.cascade)
    if spec.vote is not None:
        return vote(calls, f"{path}.vote", spec.vote)
    if spec.refine is not None:
        return refine(calls, f"{path}.refine", spec.refine)
    if spec.plan is not None:
        return plan(calls, tools, f"{path}.plan", spec.plan)
    if spec.agent is not None:
        return agent(calls, tools, f"{path}.agent", spec.agent)
    if spec.saga is not None:
        return saga(calls, tools, f"{path}.saga", spec.saga)
    return None, ()

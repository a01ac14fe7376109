"""What a step does, in a few words, for trees and pictures of workflows."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.plans import CascadePlan, PlannedPlan, RefinePlan, RoutePlan, Script, VotePlan
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.steps import Step


def describe(step: Step) -> str:
    """Return what a step does, such as ``for_each chunks: llm on small (confidential)``."""
    marks = [word for word, holds in (("confidential", step.confidential), ("in turn", step.key == "session")) if holds]
    return f"{_does(step)} ({', '.join(marks)})" if marks else _does(step)


def _does(step: Step) -> str:
    if step.split is not None:
        size = f" of {step.split.size}" if step.split.size else ""
        return f"split by {step.split.by}{size}"
    if step.wait is not None:
        return f"wait for signal {step.wait.signal}"
    if step.script is not None:
        return f"{step.kind} {_script(step.script)}"
    source = (step.source.step or "an expression") if step.source else ""
    if step.reducer is not None:
        return f"reduce {source} with {step.reducer}"
    over = f"for_each {source}: " if step.source is not None else ""
    if step.nested is not None:
        return f"{over}workflow {step.nested.ref}"
    if step.tool is not None:
        return f"{over}tool {step.tool.name}"
    pool = step.llm.pool if step.llm else ""
    if step.source is None:
        return f"llm on {pool}"
    fan_in = f", {step.fan_in} at a time" if step.kind == "reduce" else ""
    return f"{step.kind} {source}{fan_in}: llm on {pool}"


def _script(plan: Script) -> str:
    match plan:
        case RoutePlan():
            return f"to {', '.join(plan.branches)}"
        case CascadePlan():
            return ", then ".join(tier.name for tier in plan.tiers)
        case VotePlan():
            return f"of {len(plan.voters)} by {plan.pick.value}: {_pools(plan.voters)}"
        case RefinePlan():
            return f"{plan.generate.pool}, judged by {plan.evaluate.pool}, at most {plan.max_rounds} times"
        case PlannedPlan():
            return f"by {plan.planner.pool}: at most {plan.max_tasks} of {', '.join(plan.allowed)}"
        case AgentPlan():
            return f"on {plan.turn.pool} with {', '.join(plan.allowed)}: at most {plan.max_turns} turns"
        case SagaPlan():
            return ", then ".join(entry.name for entry in plan.entries)


def _pools(calls: Iterable[LlmPlan]) -> str:
    return ", ".join(dict.fromkeys(call.pool for call in calls))

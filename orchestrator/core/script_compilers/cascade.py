"""``cascade`` of a document."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.document import check_schema_at
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.script_compilers.answer import answer_schema, sample_of
from headrace.orchestrator.core.scripts.plans import CascadePlan, Tier
from headrace.schemas.workflow_patterns import CascadeSpec, JudgeSpec

MAX_SIDE_BY_SIDE = 8
MAX_CALLS = 64
"""Of one cascade: with every event its step is walked over all of them."""


def cascade(calls: CallCompiler, path: str, spec: CascadeSpec) -> tuple[CascadePlan, Needs]:
    """Return the plan of a cascade, and the steps that it refers to."""
    accept, place = spec.accept, f"{path}.accept"
    if not accept.model_fields_set:
        calls.scope.problems.add(place, "accept needs one of schema, confidence, agreement or judge")
    if accept.answer_schema is not None:
        check_schema_at(f"{place}.schema", accept.answer_schema, calls.scope.problems)
    call, needs = calls.call(path, spec, "")
    call = replace(
        call,
        output_schema=accept.answer_schema if spec.output is None else spec.output,
        logprobs=accept.confidence is not None,
    )
    judge: LlmPlan | None = None
    if accept.judge is not None:
        judge, more = _judge(calls, f"{place}.judge", accept.judge)
        needs += more
    compare = accept.agreement.compare if accept.agreement is not None else None
    if compare is not None:
        needs += calls.condition(f"{place}.agreement.compare", compare, ("answer",))
    plan = CascadePlan(
        tiers=_tiers(calls, path, spec, call),
        schema=accept.answer_schema,
        confidence=accept.confidence.at_least if accept.confidence is not None else None,
        agreement=accept.agreement.at_least if accept.agreement is not None else None,
        compare=compare,
        judge=judge,
        judge_at_least=accept.judge.at_least if accept.judge is not None else 0.0,
    )
    if plan.most_calls > MAX_CALLS:
        calls.scope.problems.add(path, f"it may make {plan.most_calls} calls; at most {MAX_CALLS} can be")
    return plan, needs


def _judge(calls: CallCompiler, path: str, spec: JudgeSpec) -> tuple[LlmPlan, Needs]:
    if spec.output is not None:
        calls.scope.problems.add(f"{path}.output", "a judge's answer is a score: leave output out")
    plan, needs = calls.llm(path, spec, ("answer",))
    return replace(plan, output_schema=answer_schema(score={"type": "number", "description": "0 to 1"})), needs


def _tiers(calls: CallCompiler, path: str, spec: CascadeSpec, call: LlmPlan) -> tuple[Tier, ...]:
    agreement, tiers = spec.accept.agreement, []
    for at, entry in enumerate(spec.pools):
        names = [entry] if isinstance(entry, str) else entry
        for name in names:
            calls.pool(f"{path}.pools.{at}", name)
        last = at == len(spec.pools) - 1
        samples = agreement.samples if agreement is not None and not last else 1
        if not 1 <= len(names) <= MAX_SIDE_BY_SIDE or (last and len(names) > 1):
            most = "one pool stands last" if last else f"1 to {MAX_SIDE_BY_SIDE} pools stand side by side"
            calls.scope.problems.add(f"{path}.pools.{at}", most)
        if not last and len(names) > 1 and agreement is None:
            calls.scope.problems.add(f"{path}.pools.{at}", "pools side by side need accept.agreement")
        if not last and agreement is not None and len(names) * samples < agreement.at_least:
            few = f"{len(names) * samples} answers cannot have {agreement.at_least} that agree: more samples"
            calls.scope.problems.add(f"{path}.pools.{at}", few)
        asked = tuple(sample_of(call, name, number) for name in names for number in range(samples))
        tiers.append(Tier("+".join(names), asked))
    return tuple(tiers)

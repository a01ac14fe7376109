"""``refine`` of a document."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.script_compilers.answer import answer_schema
from headrace.orchestrator.core.scripts.plans import RefinePlan
from headrace.schemas.workflow_patterns import RefineSpec


def refine(calls: CallCompiler, path: str, spec: RefineSpec) -> tuple[RefinePlan, Needs]:
    """Return the plan of a refinement, and the steps that it refers to."""
    generate, needs = calls.llm(f"{path}.generate", spec.generate, ("draft", "feedback", "round"))
    evaluate, more = calls.llm(f"{path}.evaluate", spec.evaluate, ("draft", "round"))
    if spec.evaluate.output is not None:
        said = "an evaluation is accept, feedback and perhaps a score: leave output out"
        calls.scope.problems.add(f"{path}.evaluate.output", said)
    best, at_least = spec.keep == "best", spec.evaluate.at_least
    fields: dict[str, dict[str, Any]] = {"accept": {"type": "boolean"}, "feedback": {"type": "string"}}
    if best or at_least is not None:
        fields["score"] = {"type": "number", "description": "0 to 1"}
    plan = RefinePlan(
        generate=generate,
        evaluate=replace(evaluate, output_schema=answer_schema(**fields)),
        max_rounds=spec.max_rounds,
        best=best,
        at_least=at_least,
    )
    return plan, needs + more

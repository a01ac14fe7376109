"""``route`` of a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.script_compilers.answer import answer_schema
from headrace.orchestrator.core.script_compilers.callee import callee
from headrace.orchestrator.core.scripts.plans import UNSURE, Callee, RoutePlan, Rule
from headrace.orchestrator.core.semantic import SemanticPlan
from headrace.schemas.messages import Examples
from headrace.schemas.tools import ToolSpec
from headrace.schemas.vectors import example_problem
from headrace.schemas.workflow_patterns import ClassifierSpec, RouteSpec, SemanticSpec


def route(
    calls: CallCompiler, tools: Mapping[str, ToolSpec] | None, path: str, spec: RouteSpec
) -> tuple[RoutePlan, Needs]:
    """Return the plan of a route, and the steps that it refers to."""
    needs: Needs = ()
    branches: dict[str, Callee | None] = {}
    for name, branch in spec.to.items():
        branches[name], more = callee(calls, tools, f"{path}.to.{name}", branch)
        needs += more
    semantic: SemanticPlan | None = None
    if spec.semantic is not None:
        semantic, more = _semantic(calls, f"{path}.semantic", spec.semantic, spec)
        needs += more
    for at, rule in enumerate(spec.rules):
        needs += calls.condition(f"{path}.rules.{at}.when", rule.when)
        _branch(calls, f"{path}.rules.{at}.to", rule.to, spec)
    _branch(calls, f"{path}.otherwise", spec.otherwise, spec)
    classifier: LlmPlan | None = None
    labels: dict[str, str] = {}
    at_least, remember_s = None, None
    if spec.classifier is not None:
        at_least, remember_s = spec.classifier.at_least, spec.classifier.remember_s
        classifier, labels, more = _classifier(calls, f"{path}.classifier", spec.classifier, spec)
        needs += more
    rules = tuple(Rule(rule.when, rule.to) for rule in spec.rules)
    return RoutePlan(branches, spec.otherwise, rules, classifier, labels, at_least, semantic, remember_s), needs


def _branch(calls: CallCompiler, path: str, name: str, spec: RouteSpec) -> None:
    if name not in spec.to:
        calls.scope.problems.add(path, f"unknown branch {name[:80]!r}{suggestion(name, spec.to)}")


def _semantic(calls: CallCompiler, path: str, spec: SemanticSpec, route: RouteSpec) -> tuple[SemanticPlan, Needs]:
    calls.pool(f"{path}.pool", spec.pool, serves="embeddings")
    for name in spec.examples:
        _branch(calls, f"{path}.examples", name, route)
    examples = tuple(Examples(route=name, texts=tuple(texts)) for name, texts in spec.examples.items())
    if (problem := example_problem(examples)) is not None:
        calls.scope.problems.add(f"{path}.examples", problem)
    needs = calls.scope.names(f"{path}.text", spec.text)
    return SemanticPlan(spec.pool, spec.text, examples, spec.at_least, spec.margin), needs


def _classifier(
    calls: CallCompiler, path: str, spec: ClassifierSpec, route: RouteSpec
) -> tuple[LlmPlan, dict[str, str], Needs]:
    if spec.output is not None:
        calls.scope.problems.add(f"{path}.output", "a classifier's answer is the name of a branch: leave output out")
    for name in spec.labels:
        _branch(calls, f"{path}.labels", name, route)
    labels = dict(spec.labels) or dict.fromkeys(route.to, "")
    plan, needs = calls.llm(path, spec, ("labels",))
    schema = answer_schema(to={"type": "string", "enum": list(dict.fromkeys([*labels, UNSURE]))})
    return replace(plan, output_schema=schema, logprobs=spec.at_least is not None), labels, needs

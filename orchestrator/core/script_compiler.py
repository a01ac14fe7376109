"""A pattern of a document becomes a script. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headrace.orchestrator.core.call_compiler import CallCompiler, Needs
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.scripts.plans import UNSURE, RoutePlan, Rule, Script
from headrace.schemas.workflow import StepSpec
from headrace.schemas.workflow_patterns import ClassifierSpec, RouteSpec


@dataclass(frozen=True, slots=True)
class ScriptCompiler:
    """Compiles the patterns of one workflow."""

    calls: CallCompiler

    def compile(self, path: str, spec: StepSpec) -> tuple[Script | None, Needs]:
        """Return a step's script, None where it has none, and the steps that it refers to."""
        if spec.route is not None:
            return self._route(f"{path}.route", spec.route)
        return None, ()

    def _problem(self, path: str, message: str) -> None:
        self.calls.scope.problems.add(path, message)

    def _route(self, path: str, spec: RouteSpec) -> tuple[Script, Needs]:
        needs: Needs = ()
        branches: dict[str, LlmPlan | None] = {}
        for name, branch in spec.to.items():
            branches[name] = None
            if branch.llm is not None:
                branches[name], more = self.calls.llm(f"{path}.to.{name}.llm", branch.llm)
                needs += more
        for at, rule in enumerate(spec.rules):
            needs += self.calls.condition(f"{path}.rules.{at}.when", rule.when)
            self._branch(f"{path}.rules.{at}.to", rule.to, spec)
        self._branch(f"{path}.otherwise", spec.otherwise, spec)
        classifier: LlmPlan | None = None
        labels: dict[str, str] = {}
        if spec.classifier is not None:
            classifier, labels, more = self._classifier(f"{path}.classifier", spec.classifier, spec)
            needs += more
        at_least = spec.classifier.at_least if spec.classifier is not None else None
        rules = tuple(Rule(rule.when, rule.to) for rule in spec.rules)
        return RoutePlan(branches, spec.otherwise, rules, classifier, labels, at_least), needs

    def _branch(self, path: str, name: str, spec: RouteSpec) -> None:
        if name not in spec.to:
            self._problem(path, f"unknown branch {name[:80]!r}{suggestion(name, spec.to)}")

    def _classifier(self, path: str, spec: ClassifierSpec, route: RouteSpec) -> tuple[LlmPlan, dict[str, str], Needs]:
        if spec.output is not None:
            self._problem(f"{path}.output", "a classifier's answer is the name of a branch: leave output out")
        for name in spec.labels:
            self._branch(f"{path}.labels", name, route)
        labels = dict(spec.labels) or dict.fromkeys(route.to, "")
        plan, needs = self.calls.llm(path, spec, ("labels",))
        schema = answer_schema(to={"type": "string", "enum": list(dict.fromkeys([*labels, UNSURE]))})
        return replace(plan, output_schema=schema, logprobs=spec.at_least is not None), labels, needs


def answer_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer with these fields, and no others: strict, as providers take it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }

"""``route``: one of several calls. The first rule that holds decides, else examples, a classifier, or `otherwise`.

Stages, each where nothing before it decided: the comparison with example utterances, the classifier; then the branch.
Where the job's session keeps what the classifier named in an earlier job, that takes the classifier's place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from headrace.orchestrator.core.scripts.plans import UNSURE, RoutePlan
from headrace.orchestrator.core.scripts.run import (
    Answer,
    Call,
    Failed,
    Finished,
    News,
    Run,
    Stage,
    Verdict,
    answer_value,
    call_to,
)
from headrace.orchestrator.core.semantic import Choice, SemanticPlan, choose
from headrace.orchestrator.core.steps import RetryRule, RetryRules
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import PatternReceipt

ONCE = RetryRules(RetryRule(attempts=1), dict.fromkeys(ErrorKind, RetryRule(attempts=1)))
"""A classifier is asked once: its failure has an answer, `otherwise`."""


def decide(plan: RoutePlan, run: Run) -> Verdict:
    """Say what follows."""
    decided = _decided(plan, run)
    if isinstance(decided, Stage):
        return decided
    keep = decided.to if decided.data["by"] == "classifier" and plan.keeps(decided.to) else ""
    news = (News("route.decided", "", {"to": decided.to, **decided.data}, keep),)
    receipt = PatternReceipt(to=decided.to)
    call = plan.branches[decided.to]
    if call is None:
        return Finished(lambda: decided.to, news, receipt)
    answers = run.past[decided.asked :]
    if not answers:
        return Stage((call_to(call),), news)
    answer = answers[0][0]
    if answer.good:
        return Finished(answer_value(answer), receipt=receipt)
    return Failed(answer.failure, receipt=receipt)


class _Decided(NamedTuple):
    """Which branch is taken."""

    to: str
    data: dict[str, Any]
    """Why, for the events."""
    asked: int
    """How many stages it took."""


def _decided(plan: RoutePlan, run: Run) -> Stage | _Decided:
    """Return the branch, or what is asked to find it."""
    if (by_rule := _by_rule(plan, run)) is not None:
        return _Decided(*by_rule, asked=0)
    asked, doubt = 0, dict[str, Any]()
    if plan.semantic is not None:
        if len(run.past) == asked:
            return Stage((Call(semantic=plan.semantic),))
        choice = _compared(plan.semantic, run.past[asked][0])
        asked += 1
        if choice.route is not None:
            return _Decided(choice.route, {"by": "semantic", **choice.told}, asked)
        doubt = {"abstained": {"reason": choice.reason, **choice.told}}
    kept = run.turn.step_state(run.step.name).remembered
    if kept is not None and plan.keeps(kept):
        return _Decided(kept, {"by": "session", **doubt}, asked)
    if plan.classifier is not None:
        if len(run.past) == asked:
            labels = plan.labels or {}
            return Stage((Call(plan.classifier, lambda: {"labels": labels}, ONCE),))
        to, data = _by_classifier(plan, run.past[asked][0])
        return _Decided(to, {**data, **doubt}, asked + 1)
    reason = "the examples leave a doubt" if doubt else "no rule holds"
    return _Decided(plan.otherwise, {"by": "otherwise", "reason": reason, **doubt}, asked)


def _by_rule(plan: RoutePlan, run: Run) -> tuple[str, dict[str, Any]] | None:
    """Return the branch of the first rule that holds; looked up once, since it rests on what does not change."""
    kept, key = run.turn.view.memo.values, f"rule/{run.step.name}"
    if key not in kept:
        kept[key] = next((at for at, rule in enumerate(plan.rules) if run.holds(rule.when)), None)
    if kept[key] is None:
        return None
    return plan.rules[kept[key]].to, {"by": "rule", "rule": kept[key]}


def _compared(plan: SemanticPlan, answer: Answer) -> Choice:
    """Return what the examples say; a comparison that failed says nothing."""
    if not answer.good:
        return Choice(None, f"the comparison failed: {answer.failure.kind.value}")
    return choose(plan, answer.value())


def _by_classifier(plan: RoutePlan, answer: Answer) -> tuple[str, dict[str, Any]]:
    """Return the branch that the classifier names; `otherwise` where it is unsure, or names none."""
    told = {} if answer.told.confidence is None else {"confidence": answer.told.confidence}
    if not answer.good:
        return plan.otherwise, {"by": "otherwise", "reason": f"the classifier failed: {answer.failure.kind.value}"}
    value = answer.value()
    to = value.get("to") if isinstance(value, dict) else None
    if to == UNSURE and UNSURE not in plan.branches:
        return plan.otherwise, {"by": "otherwise", "reason": "the classifier is unsure", **told}
    if not isinstance(to, str) or to not in plan.branches:
        return plan.otherwise, {"by": "otherwise", "reason": "the classifier names no branch", **told}
    if plan.at_least is not None and (answer.told.confidence is None or answer.told.confidence < plan.at_least):
        reason = f"the classifier's confidence in {to} is below {plan.at_least:g}, or not known"
        return plan.otherwise, {"by": "otherwise", "reason": reason, **told}
    return to, {"by": "classifier", **told}

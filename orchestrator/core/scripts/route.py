"""``route``: one of several calls. The first rule that holds decides, else a classifier, else `otherwise`.

Stages: the classifier where no rule holds, then the branch. Another way to decide (by example utterances) goes between
the rules and the classifier: a stage whose answers name a branch with a score, or none.
"""

from __future__ import annotations

from typing import Any

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
)
from headrace.orchestrator.core.steps import RetryRule, RetryRules
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import PatternReceipt

ONCE = RetryRules(RetryRule(attempts=1), dict.fromkeys(ErrorKind, RetryRule(attempts=1)))
"""A classifier is asked once: its failure has an answer, `otherwise`."""


def decide(plan: RoutePlan, run: Run) -> Verdict:
    """Say what follows."""
    by_rule = _by_rule(plan, run)
    if by_rule is None and plan.classifier is not None and not run.past:
        labels = plan.labels or {}
        return Stage((Call(plan.classifier, lambda: {"labels": labels}, ONCE),))
    asked = by_rule is None and plan.classifier is not None
    answers = run.past[1:] if asked else run.past
    to, data = by_rule or _by_classifier(plan, run.past[0][0]) if asked or by_rule else (plan.otherwise, _nothing())
    news = (News("route.decided", "", {"to": to, **data}),)
    receipt = PatternReceipt(to=to)
    call = plan.branches[to]
    if call is None:
        return Finished(lambda: to, news, receipt)
    if not answers:
        return Stage((Call(call),), news)
    answer = answers[0][0]
    if answer.good:
        return Finished(answer_value(answer), receipt=receipt)
    return Failed(answer.failure, receipt=receipt)


def _by_rule(plan: RoutePlan, run: Run) -> tuple[str, dict[str, Any]] | None:
    """Return the branch of the first rule that holds; looked up once, since it rests on what does not change."""
    kept, key = run.turn.view.memo.values, f"rule/{run.step.name}"
    if key not in kept:
        kept[key] = next((at for at, rule in enumerate(plan.rules) if run.holds(rule.when)), None)
    if kept[key] is None:
        return None
    return plan.rules[kept[key]].to, {"by": "rule", "rule": kept[key]}


def _nothing() -> dict[str, Any]:
    return {"by": "otherwise", "reason": "no rule holds"}


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

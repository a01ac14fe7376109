"""``refine``: a draft, its evaluation, another draft with the feedback, until one is accepted or no round is left.

Stages: generate and evaluate, by turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from headrace.orchestrator.core.scripts.plans import RefinePlan
from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, PatternReceipt


class Round(NamedTuple):
    """A draft and what was said of it."""

    number: int
    """From 1."""
    draft: Answer
    accepted: bool
    score: float | None
    feedback: Any


def decide(plan: RefinePlan, run: Run) -> Verdict:
    """Say what follows."""
    rounds: list[Round] = []
    left = [stage[0] for stage in run.past]
    while True:
        number, before = len(rounds) + 1, rounds[-1] if rounds else None
        news = () if before is None else (_rejected(before),)
        if not left:
            return Stage((Call(plan.generate, _drafting(number, before)),), news)
        draft = left.pop(0)
        if not draft.good:
            return _failed(draft.failure, number)
        if not left:
            return Stage((Call(plan.evaluate, _judging(number, draft)),))
        evaluation = left.pop(0)
        if not evaluation.good:
            return _failed(evaluation.failure, number)
        found = _round(plan, number, draft, evaluation.value())
        if isinstance(found, Failure):
            return _failed(found, number)
        rounds.append(found)
        if found.accepted or number == plan.max_rounds:
            return _finished(plan, rounds)


def _drafting(number: int, before: Round | None) -> Callable[[], Mapping[str, Any]]:
    def names() -> Mapping[str, Any]:
        draft = None if before is None else before.draft.value()
        return {"round": number, "draft": draft, "feedback": None if before is None else before.feedback}

    return names


def _judging(number: int, draft: Answer) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"round": number, "draft": draft.value()}


def _round(plan: RefinePlan, number: int, draft: Answer, said: Any) -> Round | Failure:
    """Return what an evaluation says, or why it says nothing."""
    said = said if isinstance(said, dict) else {}
    accepted, score = said.get("accept"), said.get("score")
    scored = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1
    if not isinstance(accepted, bool) or (plan.scores and not scored):
        message = f"the evaluation of round {number} has no accept, or no score from 0 to 1"
        return Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message)
    if plan.at_least is not None:
        assert score is not None
        accepted = accepted and score >= plan.at_least
    return Round(number, draft, accepted, float(score) if scored and score is not None else None, said.get("feedback"))


def _rejected(each: Round) -> News:
    data: dict[str, Any] = {"round": each.number}
    if each.score is not None:
        data["score"] = each.score
    return News("refine.rejected", str(each.number), data)


def _finished(plan: RefinePlan, rounds: list[Round]) -> Finished:
    """Return the end: the accepted draft, else the last, or the best of them by their scores, the later of equals."""
    last = rounds[-1]
    chosen = max(rounds, key=lambda each: (each.score or 0.0, each.number)) if plan.best and not last.accepted else last

    def value() -> dict[str, Any]:
        return {
            "draft": chosen.draft.value(),
            "accepted": last.accepted,
            "rounds": last.number,
            "feedback": chosen.feedback,
        }

    data: dict[str, Any] = {"accepted": last.accepted, "rounds": last.number, "draft": chosen.number}
    if chosen.score is not None:
        data["score"] = chosen.score
    receipt = PatternReceipt(rounds=last.number, accepted=last.accepted)
    return Finished(value, (News("refine.decided", "", data),), receipt)


def _failed(failure: Failure, number: int) -> Failed:
    return Failed(failure, receipt=PatternReceipt(rounds=number))

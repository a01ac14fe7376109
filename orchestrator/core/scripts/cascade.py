"""``cascade``: pools in order, the next one where an answer is not accepted or does not come.

Stages: the calls of a pool (or of several side by side), then the judge where there is one; so up to the last pool,
whose answer is taken as it is.
"""

from __future__ import annotations

from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.scripts.answers import parties, spent_microusd
from headrace.orchestrator.core.scripts.plans import CascadePlan, Tier
from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict
from headrace.orchestrator.core.steps import RetryRule, RetryRules
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import PatternReceipt

Found = tuple[Answer | None, str]
"""The answer that would do, or None and why none does."""


def decide(plan: CascadePlan, run: Run) -> Verdict:
    """Say what follows."""
    left = list(run.past)
    news: tuple[News, ...] = ()
    for number, tier in enumerate(plan.tiers):
        if not left:
            return Stage(_calls(plan, run, number), news)
        stages = [left.pop(0)]
        if number == len(plan.tiers) - 1:
            top = stages[0][0]
            return _finished(plan, run, number, top) if top.good else _failed(number, top)
        answer, reason = _found(plan, run, stages[0])
        if answer is not None and plan.judge is not None:
            if not left:
                return Stage((_judging(plan.judge, answer),))
            stages.append(left.pop(0))
            answer, reason = _judged(plan, answer, stages[1][0])
        if answer is not None:
            return _finished(plan, run, number, answer)
        news = (_escalated(tier, plan.tiers[number + 1], number, reason, spent_microusd(stages)),)
    raise AssertionError("the last pool's answer ends a cascade")


def early(plan: CascadePlan, run: Run, answers: tuple[Answer, ...]) -> Finished | None:
    """Return the end where enough answers agree already, and nobody has to judge them."""
    if plan.agreement is None or plan.judge is not None:
        return None
    number = len(run.past)  # Without a judge each pool is one stage.
    answer, _ = _found(plan, run, answers)
    return None if answer is None else _finished(plan, run, number, answer)


def _calls(plan: CascadePlan, run: Run, number: int) -> tuple[Call, ...]:
    tier, rules = plan.tiers[number], run.step.retry
    if number == len(plan.tiers) - 1:
        return tuple(Call(llm) for llm in tier.calls)
    # The next pool is a better answer to a malformed one than the same call again, unless the step says otherwise.
    once = RetryRules(rules.general, {ErrorKind.MALFORMED_OUTPUT: RetryRule(attempts=1), **rules.on})
    return tuple(Call(llm, retry=once) for llm in tier.calls)


def _judging(judge: LlmPlan, answer: Answer) -> Call:
    return Call(judge, lambda: {"answer": answer.value()})


def _found(plan: CascadePlan, run: Run, answers: tuple[Answer, ...]) -> Found:
    """Return the answer of a pool that would do, apart from the judge."""
    good = [answer for answer in answers if answer.good]
    if not good:
        return None, f"failed: {answers[0].failure.kind.value}"
    if plan.schema is not None:
        good = [answer for answer in good if not findings(plan.schema, answer.value())]
        if not good:
            return None, "the answer does not hold the schema"
    if plan.agreement is not None:
        largest = next(iter(parties(run, good, plan.compare)), None)
        size = largest.size if largest is not None else 0
        if largest is None or size < plan.agreement:
            return None, f"{size} of {len(answers)} agree, {plan.agreement} must"
        good = list(largest.answers)
    best = max(good, key=lambda answer: answer.told.confidence or 0.0)
    if plan.confidence is not None:
        sure = best.told.confidence
        if sure is None or sure < plan.confidence:
            said = "is not known" if sure is None else f"is {sure:.3f}"
            return None, f"confidence {said}, {plan.confidence:g} is needed"
    return best, ""


def _judged(plan: CascadePlan, answer: Answer, judge: Answer) -> Found:
    if not judge.good:
        return None, f"the judge failed: {judge.failure.kind.value}"
    value = judge.value()
    score = value.get("score") if isinstance(value, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return None, "the judge gave no score from 0 to 1"
    if score < plan.judge_at_least:
        return None, f"the judge's score is {score:g}, {plan.judge_at_least:g} is needed"
    return answer, ""


def _escalated(tier: Tier, following: Tier, number: int, reason: str, cost: int) -> News:
    data = {"from": tier.name, "to": following.name, "reason": reason, "cost_microusd": cost}
    return News("cascade.escalated", str(number), data)


def _finished(plan: CascadePlan, run: Run, number: int, answer: Answer) -> Finished:
    """Return the end: what the answer's tokens cost in the last pool, less all that was spent, is what was saved."""
    pools, told = run.turn.environment.pools, answer.told
    top = pools[plan.tiers[-1].calls[0].pool].price
    # All tasks of the step, those included that are still out: their cost is known when they settle.
    tasks = range(run.turn.step_state(run.step.name).next)
    every = [Answer(run.turn, run.step, index, run.turn.task(run.step.name, index)) for index in tasks]
    saved = top.cost_microusd(told.input_tokens, told.output_tokens, told.cached_tokens) - spent_microusd([every])
    name = plan.tiers[number].name
    data = {"pool": name, "escalations": number, "saved_microusd": saved}
    receipt = PatternReceipt(to=name, escalations=number, saved_microusd=saved)
    return Finished(answer.value, (News("cascade.answered", "", data),), receipt)


def _failed(number: int, answer: Answer) -> Failed:
    return Failed(answer.failure, receipt=PatternReceipt(escalations=number))

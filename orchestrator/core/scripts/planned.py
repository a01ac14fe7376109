"""``plan``: a model breaks the work down, and what it planned is done.

Stages: the planner; where its plan does not hold, once more with what is wrong; then the planned tasks in waves, each
of those that need nothing that is not there. A plan lists its tasks so that each needs earlier ones only: no circle
can be written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.scripts.plans import PlannedPlan
from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict, call_to
from headrace.orchestrator.core.sensitivity import is_confidential
from headrace.orchestrator.core.steps import RetryRule, RetryRules
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, PatternReceipt

MAX_TOLD_BYTES = 8_192
"""Of a plan with its arguments that stands in an event; of a larger one the names and needs do."""
MAX_PROBLEM = 1_000


class Planned(NamedTuple):
    """One task of a plan that holds."""

    name: str
    args: Any
    needs: tuple[int, ...]
    wave: int
    """From 0."""


def decide(plan: PlannedPlan, run: Run) -> Verdict:
    """Say what follows."""
    if not run.past:
        return Stage((Call(plan.planner, lambda: _known(plan), _once(run)),))
    first, left = run.past[0][0], run.past[1:]
    found = _read(plan, first)
    repaired = isinstance(found, str)
    if isinstance(found, str):
        if not left:
            return Stage((Call(plan.repair, _repairing(plan, first, found), _once(run)),), (_refused(found),))
        found = _read(plan, left[0][0])
        left = left[1:]
        if isinstance(found, str):
            message = f"the plan does not hold, nor did the one before it: {found}"
            return Failed(Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message))
    if isinstance(found, Failure):
        return Failed(found)
    return _do(plan, run, found, left, repaired=repaired)


def _do(
    plan: PlannedPlan, run: Run, tasks: list[Planned], left: list[tuple[Answer, ...]], *, repaired: bool
) -> Verdict:
    answers: dict[int, Answer] = {}
    receipt = PatternReceipt(planned=len(tasks))
    for wave in range(1 + max((task.wave for task in tasks), default=-1)):
        numbers = [number for number, task in enumerate(tasks) if task.wave == wave]
        if not left:
            news = (_made(run, tasks, repaired=repaired),) if wave == 0 else ()
            return Stage(tuple(_call(plan, tasks, number, answers) for number in numbers), news)
        answers.update(zip(numbers, left.pop(0), strict=True))
        for number in numbers:
            if not answers[number].good:
                failure = answers[number].failure
                message = f"planned task {number} ({tasks[number].name}) failed: {failure.message}"
                return Failed(failure.model_copy(update={"message": message[:MAX_PROBLEM]}), receipt=receipt)

    def value() -> list[dict[str, Any]]:
        return [
            {"name": task.name, "args": task.args, "output": answers[number].value()}
            for number, task in enumerate(tasks)
        ]

    return Finished(value, () if tasks else (_made(run, tasks, repaired=repaired),), receipt)


def _call(plan: PlannedPlan, tasks: list[Planned], number: int, answers: Mapping[int, Answer]) -> Call:
    task = tasks[number]
    needed = [answers[need] for need in task.needs]

    def names() -> Mapping[str, Any]:
        return {"args": task.args, "needs": [answer.value() for answer in needed], "index": number}

    return call_to(plan.allowed[task.name].call, names)


def _known(plan: PlannedPlan) -> dict[str, Any]:
    descriptions = {name: each.description for name, each in plan.allowed.items()}
    return {"allowed": descriptions, "max_tasks": plan.max_tasks}


def _repairing(plan: PlannedPlan, first: Answer, problem: str) -> Any:
    def names() -> Mapping[str, Any]:
        return {**_known(plan), "plan": first.value() if first.good else None, "problem": problem}

    return names


def _once(run: Run) -> RetryRules:
    """A plan that does not hold is repaired, not asked for again as it was, unless the step says otherwise."""
    rules = run.step.retry
    return RetryRules(rules.general, {ErrorKind.MALFORMED_OUTPUT: RetryRule(attempts=1), **rules.on})


def _read(plan: PlannedPlan, answer: Answer) -> list[Planned] | Failure | str:
    """Return the tasks of a plan, why there is none, or what is wrong with it."""
    if not answer.good:
        failure = answer.failure
        return failure.message[:MAX_PROBLEM] if failure.kind is ErrorKind.MALFORMED_OUTPUT else failure
    value = answer.value()
    listed = value.get("tasks") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        return "it has no list of tasks"
    if len(listed) > plan.max_tasks:
        return f"it has {len(listed)} tasks, at most {plan.max_tasks} are allowed"
    tasks: list[Planned] = []
    for number, each in enumerate(listed):
        found = _task(plan, tasks, number, each)
        if isinstance(found, str):
            return f"task {number}: {found}"[:MAX_PROBLEM]
        tasks.append(found)
    return tasks


def _task(plan: PlannedPlan, before: list[Planned], number: int, each: Any) -> Planned | str:
    name = each.get("name") if isinstance(each, dict) else None
    if not isinstance(name, str) or name not in plan.allowed:
        return f"its name is none of {', '.join(plan.allowed)}"
    args, needs = each.get("args", {}), each.get("needs", [])
    if wrong := findings(plan.allowed[name].args, args):
        return f"args: {'; '.join(wrong)}"
    if not isinstance(needs, list) or any(type(need) is not int or not 0 <= need < number for need in needs):
        return "needs are numbers of earlier tasks, from 0"
    wave = 1 + max((before[need].wave for need in needs), default=-1)
    if wave >= plan.max_depth:
        return f"it ends a chain of {wave + 1} tasks that need each other, at most {plan.max_depth} are allowed"
    return Planned(name, args, tuple(dict.fromkeys(needs)), wave)


def _refused(problem: str) -> News:
    return News("plan.refused", "", {"problem": problem})


def _made(run: Run, tasks: list[Planned], *, repaired: bool) -> News:
    """Return the plan as an event; with its arguments where they are few, and nobody else's business."""
    told: list[dict[str, Any]] = [{"name": task.name, "needs": list(task.needs)} for task in tasks]
    whole = [{**each, "args": task.args} for each, task in zip(told, tasks, strict=True)]
    if not is_confidential(run.turn, run.step) and len(canonical_json(whole)) <= MAX_TOLD_BYTES:
        told = whole
    return News("plan.made", "", {"tasks": told, "count": len(tasks), "repaired": repaired})

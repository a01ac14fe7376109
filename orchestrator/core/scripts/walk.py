"""A script's stages, walked again over the records of its tasks: what each task is, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from headrace.orchestrator.core.scripts import agent, cascade, planned, refine, route, saga, vote
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.plans import CascadePlan, PlannedPlan, RefinePlan, RoutePlan, VotePlan
from headrace.orchestrator.core.scripts.run import Answer, Call, Evaluate, Failed, Finished, Run, Stage, Verdict
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.templates import RenderError
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.messages import Failure


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a script stands."""

    calls: tuple[Call, ...]
    """The calls of its tasks, by index."""
    stage: int
    """The index of the first task of its last stage."""
    then: Verdict | None
    """What follows: a stage that is not begun yet, or the end; None while tasks are awaited."""


def walk(turn: Turn, step: Step, evaluate: Evaluate) -> Walk:
    """Walk a script's stages as far as its tasks' records go.

    Args:
        evaluate: gives a template's value with the step's context.

    Raises:
        InputBroken: the job's input cannot be read.
        PayloadLost: an answer that a decision rests on is gone.
        DependencyUnavailable: it cannot be read now.
    """
    run, stage = Run(turn, step, evaluate), 0
    calls: list[Call] = []
    total = turn.step_state(step.name).total
    while True:
        verdict = _decide(run)
        if not isinstance(verdict, Stage) or len(calls) >= total:
            return Walk(tuple(calls), stage, verdict)
        stage = len(calls)
        calls.extend(verdict.calls)
        answers = tuple(Answer(turn, step, index, turn.task(step.name, index)) for index in range(stage, len(calls)))
        if not all(answer.ended for answer in answers):
            return Walk(tuple(calls), stage, _early(run, answers))
        run.past.append(answers)


def _decide(run: Run) -> Verdict:
    """Return what follows from the stages that are complete; what a template cannot do fails the step."""
    plan = run.step.script
    try:
        match plan:
            case RoutePlan():
                return route.decide(plan, run)
            case CascadePlan():
                return cascade.decide(plan, run)
            case VotePlan():
                return vote.decide(plan, run)
            case RefinePlan():
                return refine.decide(plan, run)
            case PlannedPlan():
                return planned.decide(plan, run)
            case AgentPlan():
                return agent.decide(plan, run)
            case SagaPlan():
                return saga.decide(plan, run)
            case None:
                raise AssertionError(f"step {run.step.name} has no script")
            case _:
                assert_never(plan)
    except RenderError as error:
        return Failed(Failure(kind=error.kind, message=error.message[:1_000]))


def _early(run: Run, answers: tuple[Answer, ...]) -> Finished | None:
    """Return the step's end where it need not wait for the rest of a stage."""
    match run.step.script:
        case CascadePlan() as plan:
            return cascade.early(plan, run, answers)
        case VotePlan() as plan:
            return vote.early(plan, run, answers)
        case _:
            return None

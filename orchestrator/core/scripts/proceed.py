"""A scripted step goes on: another stage begins, or it ends, with what is still out called off."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.effects import PublishControl
from headrace.orchestrator.core.scripts.kept_routes import keep
from headrace.orchestrator.core.scripts.run import Failed, Finished, News, Stage
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.sensitivity import is_confidential
from headrace.orchestrator.core.state import StepStatus, TaskStatus
from headrace.orchestrator.core.steps import OnErrorMode, Step
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import walked
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Control, Failure

_QUOTES = {"plan.refused": "problem", "saga.compensating": "reason", "saga.compensation_failed": "reason"}
"""What of an event is the text of a failure, which may quote an answer: of a confidential step it is left out."""


def proceed(turn: Turn, step: Step) -> Failure | None:
    """Let a running scripted step go on as far as it can.

    Returns:
        Why its job fails, where the step failed and the job cannot do without it.
    """
    then = walked(turn, step).then
    match then:
        case Stage():
            state = turn.step_state(step.name)
            turn.set_step(step.name, replace(state, total=state.total + len(then.calls)))
            _announce(turn, step, then.news)
        case Finished():
            _announce(turn, step, then.news)
            _end(turn, step)
        case Failed():
            _announce(turn, step, then.news)
            if isinstance(step.script, SagaPlan):
                _end(turn, step)  # Over in any case: its job may have to wait for other sagas.
            if step.on_error.mode is OnErrorMode.FAIL:
                failure = then.failure
                return failure.model_copy(update={"message": f"step {step.name} failed: {failure.message}"[:2_000]})
            if turn.step_state(step.name).status is not StepStatus.DONE:
                _end(turn, step)
        case None:
            pass
    return None


def is_over(turn: Turn, step: Step) -> bool:
    """Return whether a scripted step ended while some of its tasks were out."""
    return step.script is not None and turn.step_state(step.name).status is StepStatus.DONE


def order_of(job_id: str, step: Step, index: int) -> str:
    """Return what an order about one task is called."""
    return f"task/{job_id}/{step.name}/{index}"


def _announce(turn: Turn, step: Step, news: tuple[News, ...]) -> None:
    for each in news:
        data = each.data
        if (quoting := _QUOTES.get(each.kind)) is not None and is_confidential(turn, step):
            data = {name: said for name, said in data.items() if name != quoting}
        turn.announce(each.kind, step=step.name, subject=each.subject, **data)
        if each.keep:
            keep(turn, step, each.keep)


def _end(turn: Turn, step: Step) -> None:
    """End a step. A task that waits for another attempt is over; one that is out is called off, and settles later."""
    for index in range(turn.step_state(step.name).next):
        record = turn.task(step.name, index)
        if record is None or record.ended:
            continue
        if record.status is TaskStatus.RETRYING:
            last = record.failure or Failure(kind=ErrorKind.INTERRUPTED, message="it was interrupted")
            message = f"its step ended before another attempt; the last: {last.message}"[:1_000]
            failure = last.model_copy(update={"message": message})
            over = replace(record, status=TaskStatus.FAILED, at_ms=turn.now_ms, due_ms=None, failure=failure)
            turn.put_task(step.name, index, replace(over, cause="", history=(), repair=None))
            turn.set_step(step.name, turn.step_state(step.name).moved(retrying=-1, failed=1))
        else:
            subject = order_of(turn.job_id, step, index)
            order = Control(subject=subject, action="cancel", at_ms=turn.now_ms, reason="the step has ended")
            turn.effect(PublishControl(subject, order))
    state = turn.step_state(step.name)
    turn.set_step(step.name, replace(state, status=StepStatus.DONE, finished_ms=turn.now_ms))
    turn.announce("step.finished", step=step.name, done=state.done, failed=state.failed)

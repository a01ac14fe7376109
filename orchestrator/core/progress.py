"""What follows when something ended: steps start, steps finish, and at last the job."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.aggregate import TreePlan
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.outcome import end_job
from headrace.orchestrator.core.scripts.kept_routes import kept_branch
from headrace.orchestrator.core.scripts.proceed import proceed
from headrace.orchestrator.core.scripts.run import Failed
from headrace.orchestrator.core.state import Phase, StepState, StepStatus
from headrace.orchestrator.core.steps import OnErrorMode
from headrace.orchestrator.core.templates import evaluate_structure
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import (
    evaluated,
    output_context,
    source_count,
    split_items,
    step_value,
    streams,
    walked,
)
from headrace.orchestrator.core.waits import begin
from headrace.orchestrator.core.winding_down import running_sagas
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.messages import Failure, JobStatus


def advance(turn: Turn) -> None:
    """Start and finish every step that can be, in the graph's order, and end the job when all are done."""
    try:
        if turn.header.ending is not None:
            _wind_down(turn)
            return
        for step in turn.graph.steps:
            _advance_step(turn, step)
            if turn.header.phase is not Phase.RUNNING or turn.header.ending is not None:
                break
        if turn.header.phase is not Phase.RUNNING:
            return
        if turn.header.ending is not None:
            _wind_down(turn)
        elif all(state.status is StepStatus.DONE for _, state in turn.header.steps):
            graph = turn.graph
            output = evaluate_structure(graph.output, output_context(turn), step="output", work=turn.work)
            end_job(turn, JobStatus.SUCCEEDED, output=output)
    except DependencyUnavailable:
        raise  # A store that does not answer is waited for; it fails no job.
    except HeadraceError as error:
        kind = getattr(error, "kind", ErrorKind.INTERNAL)
        end_job(turn, JobStatus.FAILED, kind if isinstance(kind, ErrorKind) else ErrorKind.INTERNAL, error.message)


def _wind_down(turn: Turn) -> None:
    """Let the sagas of a job that ends go on; when all are over, it ends as it was to."""
    ending, said = turn.header.ending, []
    assert ending is not None
    for step in running_sagas(turn):
        proceed(turn, step)
    if running_sagas(turn):
        return
    for name, _ in ending.sagas:
        end = walked(turn, turn.graph.step(name)).then
        if isinstance(end, Failed):
            said.append(f"saga {name}: {end.failure.message}")
    reason = None if ending.reason is None else ErrorKind(ending.reason)
    end_job(turn, JobStatus(ending.status), reason, "; ".join((ending.message, *said)))


def _advance_step(turn: Turn, step: Step) -> None:
    state = turn.step_state(step.name)
    if state.status is StepStatus.WAITING and _startable(turn, step):
        _start(turn, step)
    state = turn.step_state(step.name)
    if state.status is not StepStatus.RUNNING:
        return
    if step.script is not None:
        if failure := proceed(turn, step):
            end_job(turn, JobStatus.FAILED, failure.kind, failure.message)
    elif state.ended >= state.total:
        _finish(turn, step, state)


def _startable(turn: Turn, step: Step) -> bool:
    source = step.source.step if step.source else None
    for need in step.needs:
        status = turn.step_state(need).status
        if need == source and status is StepStatus.RUNNING and streams(turn, step):
            continue
        if status is not StepStatus.DONE:
            return False
    return True


def _start(turn: Turn, step: Step) -> None:
    if step.when is not None and not evaluated(turn, step, step.when, {}):
        skipped = StepState(StepStatus.DONE, started_ms=turn.now_ms, finished_ms=turn.now_ms, skipped=True)
        turn.set_step(step.name, skipped)
        turn.announce("step.skipped", step=step.name)
        return
    total = _total(turn, step)
    kept = kept_branch(turn, step)
    turn.set_step(step.name, StepState(StepStatus.RUNNING, total=total, started_ms=turn.now_ms, remembered=kept))
    turn.announce("step.started", step=step.name, total=total)
    if step.wait is not None:
        begin(turn, step)
    elif not step.makes_tasks:
        # Computed where it stands; worked out here, so that what it cannot take fails the job here.
        done = StepState(StepStatus.RUNNING, total=total, next=total, done=total, started_ms=turn.now_ms)
        _finish(turn, step, done)
        step_value(turn, step)


def _total(turn: Turn, step: Step) -> int:
    """Return how many tasks a step has (for a split: how many items)."""
    match step.kind:
        case StepKind.LLM | StepKind.TOOL | StepKind.WORKFLOW | StepKind.WAIT:
            return 1
        case StepKind.SPLIT:
            items = split_items(turn, step)
            turn.view.memo.values[f"step/{step.name}"] = items
            return len(items)
        case StepKind.FOR_EACH:
            return source_count(turn, step)
        case StepKind.REDUCE:
            return TreePlan(source_count(turn, step), step.fan_in).node_count if step.makes_tasks else 1
        case _:
            return 0  # Of a script they are known as it goes.


def _finish(turn: Turn, step: Step, state: StepState) -> None:
    if failure := shortfall(step, state):
        end_job(turn, JobStatus.FAILED, failure.kind, failure.message)
        return
    turn.set_step(step.name, replace(state, status=StepStatus.DONE, finished_ms=turn.now_ms))
    turn.announce("step.finished", step=step.name, done=state.done, failed=state.failed)


def shortfall(step: Step, state: StepState, cause: Failure | None = None) -> Failure | None:
    """Return why a step can no longer hold what it promised, or None.

    Args:
        cause: the failure that made the difference, whose kind becomes the job's reason.
    """
    kind = cause.kind if cause else ErrorKind.INVALID_INPUT
    because = f": {cause.message}" if cause else ""
    if step.on_error.mode is not OnErrorMode.FAIL or step.script is not None:
        return None  # A script says itself what a failed call means.
    if step.kind is not StepKind.FOR_EACH:
        return Failure(kind=kind, message=f"step {step.name} failed{because}") if state.failed else None
    needed = step.require.needed(state.total)
    if state.total - state.failed >= needed:
        return None
    message = f"step {step.name}: {state.failed} of {state.total} items failed, {needed} must succeed{because}"
    return Failure(kind=kind, message=message)

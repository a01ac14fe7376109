"""From a step's next index to a task: is it ready, what is its prompt, does it fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.aggregate import TreePlan
from headrace.orchestrator.core.context import surely_too_long
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.gathering import task_value
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.state import JobHeader, StepStatus, TaskRecord, TaskStatus
from headrace.orchestrator.core.templates import render
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import source_count, source_item, step_context, streams
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import ChatMessage, Failure, Lane, LlmCall, Sensitivity, Task

LOOK_AHEAD = 64
"""Most tasks whose readiness is checked one by one; a grant is followed by another as results come back."""


def room(turn: Turn, step: Step) -> int:
    """Return how many more tasks of a step the job's own window lets out."""
    header = turn.header
    open_tasks = sum(state.live + state.retrying for _, state in header.steps)
    limit = step.max_in_flight or turn.environment.limits.max_in_flight
    return 0 if header.blocked else max(0, limit - open_tasks)


def ready_count(turn: Turn, step: Step, at_most: int) -> int:
    """Return how many tasks of a step, from its cursor on, could go out now."""
    state = turn.step_state(step.name)
    if state.status is not StepStatus.RUNNING or not step.makes_tasks:
        return 0
    left = min(at_most, state.total - state.next)
    if step.kind is not StepKind.REDUCE and not streams(turn, step):
        return left
    count = 0
    while count < min(left, LOOK_AHEAD) and is_ready(turn, step, state.next + count):
        count += 1
    return count


def is_ready(turn: Turn, step: Step, index: int) -> bool:
    """Return whether everything that a task reads is there."""
    streaming = streams(turn, step)
    if step.kind is StepKind.REDUCE:
        inputs = tree_of(turn, step).inputs_of(index)
        if not inputs.leaf:
            return all(_ended(turn, step.name, node) for node in inputs.indices)
        source = step.source.step if step.source else None
        return not streaming or all(_ended(turn, str(source), item) for item in inputs.indices)
    if streaming:
        assert step.source is not None
        return _ended(turn, str(step.source.step), index)
    return True


def _ended(turn: Turn, step: str, index: int) -> bool:
    record = turn.task(step, index)
    return record is not None and record.ended


def tree_of(turn: Turn, step: Step) -> TreePlan:
    """Return the tree of a reduce step that runs."""
    return TreePlan(source_count(turn, step), step.fan_in)


def dispatch(turn: Turn, step: Step, count: int) -> list[tuple[int, Failure]]:
    """Send up to `count` tasks of a step on their way.

    Returns:
        Items that cannot be asked for at all, with the reason: the caller settles them as failed.
    """
    refused: list[tuple[int, Failure]] = []
    base = step_context(turn, step)
    state = turn.step_state(step.name)
    count = min(count, state.total - state.next, room(turn, step))
    sent = passed = 0
    for index in range(state.next, state.next + count):
        if not is_ready(turn, step, index):
            break
        try:
            failure = _send(turn, step, index, base, attempt=1)
        except DependencyUnavailable:
            if not passed:
                raise
            break  # What is there goes out; the rest waits for its part.
        if failure is not None and failure.kind is ErrorKind.BUDGET_EXCEEDED:
            break
        passed += 1
        if failure is None:
            sent += 1
        else:
            refused.append((index, failure))
    latest = turn.step_state(step.name)
    turn.set_step(step.name, replace(latest, next=latest.next + passed, live=latest.live + sent))
    return refused


def dispatch_again(turn: Turn, step: Step, index: int, record: TaskRecord) -> Failure | None:
    """Send a waiting retry on its way; its place in the job's window was kept. Where it cannot go, nothing changes."""
    failure = _send(turn, step, index, step_context(turn, step), attempt=record.attempt + 1)
    if failure is None:
        state = turn.step_state(step.name)
        turn.set_step(step.name, replace(state, retrying=state.retrying - 1, live=state.live + 1))
    return failure


def _send(turn: Turn, step: Step, index: int, base: dict[str, Any], *, attempt: int) -> Failure | None:
    assert step.llm is not None
    try:
        messages = tuple(
            ChatMessage.model_construct(role=template.role, content=render(template.content, context, step=step.name))  # type: ignore[arg-type]
            for context in [_item_context(turn, step, index, base)]
            for template in step.llm.messages
        )
    except (DependencyUnavailable, InputBroken):
        raise  # The store is waited for; a broken input fails the job, and not one task after the other.
    except HeadraceError as error:
        return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
    pool = turn.environment.pools[step.llm.pool]
    most = step.llm.max_output_tokens
    if refusal := surely_too_long(messages, context_tokens=pool.context_tokens, max_output_tokens=most):
        return Failure(kind=ErrorKind.CONTEXT_TOO_LONG, message=refusal)
    header, reserved = turn.header, None
    if header.budget_microusd is not None or header.budget_tokens is not None:
        reserved = budget.upper_bound(messages, step.llm.max_output_tokens or 0, pool)
        if not budget.fits(header, reserved):
            return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=_over(header, reserved))
        turn.header = budget.reserve(header, reserved)
    task = _task(turn, step, index, attempt, messages)
    turn.put_task(step.name, index, TaskRecord(TaskStatus.LIVE, attempt, turn.now_ms, reserved=reserved))
    turn.effect(DispatchTask(task, task.task_id, tuple((name, text.encode()) for name, text in header.trace)))
    return None


def _over(header: JobHeader, bound: tuple[int, int]) -> str:
    return (
        f"the next call may take {bound[0]} tokens and {bound[1]} micro-US-dollars, more than the budget leaves "
        f"(tokens {header.budget_tokens}, micro-US-dollars {header.budget_microusd})"
    )


def _task(turn: Turn, step: Step, index: int, attempt: int, messages: tuple[ChatMessage, ...]) -> Task:
    """Build the task. Its parts were checked when the job was accepted, so they are not validated again here."""
    assert step.llm is not None
    header, llm = turn.header, step.llm
    pool = turn.environment.pools[llm.pool]
    call = LlmCall.model_construct(
        messages=messages,
        max_output_tokens=llm.max_output_tokens,
        temperature=llm.temperature,
        top_p=llm.top_p,
        seed=llm.seed,
        stop=llm.stop,
        output_schema=llm.output_schema,
    )
    return Task.model_construct(
        task_id=str(TaskId(header.job_id, step.name, index)),
        job_id=header.job_id,
        step=step.name,
        attempt=attempt,
        pool=llm.pool,
        lane=Lane(header.lane),
        reply_partition=turn.view.partition,
        tenant=header.tenant,
        sensitivity=Sensitivity(header.sensitivity),
        workflow=header.workflow,
        template_hash=step.template_hash,
        timeout_ms=step.timeout_ms or int(pool.timeout_s * 1000),
        not_after_ms=header.deadline_ms,
        dispatched_at_ms=turn.now_ms,
        call=call,
    )


def _item_context(turn: Turn, step: Step, index: int, base: dict[str, Any]) -> dict[str, Any]:
    match step.kind:
        case StepKind.FOR_EACH:
            return {**base, "item": source_item(turn, step, index), "index": index}
        case StepKind.REDUCE:
            return {**base, "items": node_items(turn, step, index), "index": index}
        case _:
            return base


def node_items(turn: Turn, step: Step, node: int) -> list[Any]:
    """Return what a node of a reduce tree merges, left to right, without what failed."""
    inputs = tree_of(turn, step).inputs_of(node)
    if inputs.leaf:
        items = [source_item(turn, step, item) for item in inputs.indices]
    else:
        items = [task_value(turn, step, child) for child in inputs.indices]
    return [item for item in items if item is not None]

"""From a step's next index to a task: is it ready, what is its prompt, does it fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.aggregate import TreePlan
from headrace.orchestrator.core.context import surely_too_long, unsendable
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.gathering import task_value
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.state import JobHeader, StepStatus, TaskRecord, TaskStatus
from headrace.orchestrator.core.templates import render
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import source_count, source_item, step_context, streams
from headrace.orchestrator.core.work import MAX_WORK, TASK_WORK, Work
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import ChatMessage, Failure, Lane, LlmCall, Sensitivity, Task

DISPATCH_WORK = MAX_WORK
"""A grant is cut after the task that goes above this: the job has its next turn when others had theirs."""
LOOK_AHEAD = 64
"""Most tasks whose readiness is checked one by one; a grant is followed by another as results come back."""


def room(turn: Turn, step: Step) -> int:
    """Return how many more tasks of a step may go out: within the job's own window, and within the step's.

    A waiting retry takes no place, until as many wait as the window holds: a provider's outage must not push a whole
    job through the window into a heap of timers (ADR 19).
    """
    header = turn.header
    if header.blocked:
        return 0
    own = turn.step_state(step.name)
    job_limit = _job_window(turn)
    step_limit = step.max_in_flight or job_limit
    live, retrying = 0, 0
    for _, state in header.steps:
        live, retrying = live + state.live, retrying + state.retrying
    return max(0, min(_room_in(job_limit, live, retrying), _room_in(step_limit, own.live, own.retrying)))


def may_go_again(turn: Turn, step: Step) -> bool:
    """Return whether a retry whose time has come finds a place in the windows of its job and its step."""
    job_limit = _job_window(turn)
    live = sum(state.live for _, state in turn.header.steps)
    return live < job_limit and turn.step_state(step.name).live < (step.max_in_flight or job_limit)


def _job_window(turn: Turn) -> int:
    """Return the most tasks of the job that may be out; a step that asks for more widens it."""
    return max(turn.environment.limits.max_in_flight, turn.graph.widest)


def _room_in(limit: int, live: int, retrying: int) -> int:
    return min(limit - live, 2 * limit - live - retrying)


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
    sent = passed = done = 0
    for index in range(state.next, state.next + count):
        if done > DISPATCH_WORK or not is_ready(turn, step, index):
            break
        work = Work(TASK_WORK)
        try:
            failure = _send(turn, step, index, base, None, work=work)
        except DependencyUnavailable:
            if not passed:
                raise
            break  # What is there goes out; the rest waits for its part.
        done += work.done
        if failure is not None and failure.kind is ErrorKind.BUDGET_EXCEEDED:
            break
        passed += 1
        if failure is None:
            sent += 1
        else:
            refused.append((index, failure))
    if passed:
        latest = turn.step_state(step.name)
        turn.set_step(step.name, replace(latest, next=latest.next + passed, live=latest.live + sent))
    return refused


def dispatch_again(turn: Turn, step: Step, index: int, record: TaskRecord) -> Failure | None:
    """Send a waiting retry on its way. Where it cannot go, nothing changes."""
    failure = _send(turn, step, index, step_context(turn, step), record, work=Work(TASK_WORK))
    if failure is None:
        state = turn.step_state(step.name)
        turn.set_step(step.name, replace(state, retrying=state.retrying - 1, live=state.live + 1))
        if record.cause:
            turn.header = budget.count_duplicate(turn.header, pool_of(step, record))
    return failure


def pool_of(step: Step, record: TaskRecord | None) -> str:
    """Return the pool of a task: the step's, unless an operator sent the task to another."""
    assert step.llm is not None
    return record.edit.pool if record and record.edit and record.edit.pool else step.llm.pool


def task_again(turn: Turn, step: Step, index: int, record: TaskRecord) -> Task | None:
    """Return a task as it was last dispatched, for its dead letter; None where it cannot be rendered any more."""
    try:
        messages = _messages(turn, step, index, step_context(turn, step), record, work=Work(TASK_WORK))
    except DependencyUnavailable:
        raise  # A store that does not answer is waited for.
    except HeadraceError:
        return None
    return _task(turn, step, index, record, messages)


def _messages(
    turn: Turn, step: Step, index: int, base: dict[str, Any], record: TaskRecord | None, *, work: Work
) -> tuple[ChatMessage, ...]:
    """Return a task's prompt, rendered; an operator's edit stands in its place.

    Raises:
        HeadraceError: a template cannot be rendered, or a value cannot be read.
    """
    assert step.llm is not None
    if record and record.edit and record.edit.messages is not None:
        return tuple(ChatMessage.model_construct(role=r, content=c) for r, c in record.edit.messages)  # type: ignore[arg-type]
    context = _item_context(turn, step, index, base)
    return tuple(
        ChatMessage.model_construct(
            role=template.role,  # type: ignore[arg-type]
            content=render(template.content, context, step=step.name, work=work),
        )
        for template in step.llm.messages
    )


def _send(
    turn: Turn, step: Step, index: int, base: dict[str, Any], before: TaskRecord | None, *, work: Work
) -> Failure | None:
    """Send one task on its way, or return why it cannot go.

    Args:
        before: the task's record where it was tried before.
        work: what rendering its prompt may do.
    """
    assert step.llm is not None
    try:
        messages = _messages(turn, step, index, base, before, work=work)
    except (DependencyUnavailable, InputBroken):
        raise  # The store is waited for; a broken input fails the job, and not one task after the other.
    except HeadraceError as error:
        return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
    if refusal := unsendable(messages, objects=turn.environment.objects):
        return Failure(kind=ErrorKind.TOO_LARGE, message=refusal)
    pool = turn.environment.pools[pool_of(step, before)]
    most = step.llm.max_output_tokens
    if refusal := surely_too_long(messages, context_tokens=pool.context_tokens, max_output_tokens=most):
        return Failure(kind=ErrorKind.CONTEXT_TOO_LONG, message=refusal)
    header, reserved = turn.header, None
    limited = budget.is_limited(header)
    if limited or (pool.price.is_charged and most is not None):
        reserved = budget.upper_bound(messages, most or 0, pool)
        if limited and not budget.fits(header, reserved):
            return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=_over(header, reserved))
        turn.header = budget.reserve(header, reserved)
    record = _out(before, turn.now_ms, reserved)
    turn.put_task(step.name, index, record)
    trace = tuple((name, text.encode()) for name, text in header.spec.trace)
    task = _task(turn, step, index, record, messages)
    after, cause = (before.failure.kind.value if before.failure else "", before.cause) if before else ("", "")
    turn.effect(DispatchTask(task, task.task_id, trace, after, cause))
    return None


def _out(before: TaskRecord | None, now_ms: int, reserved: tuple[int, int] | None) -> TaskRecord:
    """Return the record of an attempt that goes out."""
    if before is None:
        return TaskRecord(TaskStatus.LIVE, 1, now_ms, reserved=reserved)
    return replace(
        before,
        status=TaskStatus.LIVE,
        attempt=before.attempt + 1,
        at_ms=now_ms,
        due_ms=None,
        failure=None,
        reserved=reserved,
        cause="",
    )


def _over(header: JobHeader, bound: tuple[int, int]) -> str:
    return (
        f"the next call may take {bound[0]} tokens and {bound[1]} micro-US-dollars, more than the budget leaves "
        f"(tokens {header.spec.budget_tokens}, micro-US-dollars {header.spec.budget_microusd})"
    )


def _task(turn: Turn, step: Step, index: int, record: TaskRecord, messages: tuple[ChatMessage, ...]) -> Task:
    """Build the task. Its parts were checked when the job was accepted, so they are not validated again here."""
    assert step.llm is not None
    header, llm = turn.header, step.llm
    pool_name = pool_of(step, record)
    pool = turn.environment.pools[pool_name]
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
        task_id=str(TaskId(header.spec.job_id, step.name, index)),
        job_id=header.spec.job_id,
        step=step.name,
        attempt=record.attempt,
        pool=pool_name,
        lane=Lane(header.spec.lane),
        reply_partition=turn.view.partition,
        tenant=header.spec.tenant,
        sensitivity=Sensitivity(header.spec.sensitivity),
        workflow=header.spec.workflow,
        template_hash=step.template_hash,
        timeout_ms=step.timeout_ms or int(pool.timeout_s * 1000),
        not_after_ms=not_after_ms(turn, record),
        dispatched_at_ms=record.at_ms,
        call=call,
    )


def not_after_ms(turn: Turn, record: TaskRecord) -> int:
    """Return the last moment at which a worker may start a task's call: the rule of lost tasks rests on it."""
    limit, deadline = record.at_ms + turn.environment.limits.queue_limit_ms, turn.header.spec.deadline_ms
    return limit if deadline is None else min(limit, deadline)


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

"""From a step's next index to a task: is it ready, what is its prompt, does it fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.aggregate import TreePlan
from headrace.orchestrator.core.compare_dispatch import CompareSender
from headrace.orchestrator.core.context import is_plainly_small, surely_too_long, unsendable, weighed_with
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.gathering import task_value
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.nested_dispatch import NestedSender
from headrace.orchestrator.core.outgoing import not_after_ms, outgoing, over_budget
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.repair import Repair
from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.sensitivity import is_confidential, sensitivity_of
from headrace.orchestrator.core.sessions import has_turn
from headrace.orchestrator.core.state import StepStatus, TaskRecord
from headrace.orchestrator.core.steps import KeyRule
from headrace.orchestrator.core.task_calls import call_of, next_calls, pool_of
from headrace.orchestrator.core.task_keys import record_key
from headrace.orchestrator.core.templates import render
from headrace.orchestrator.core.tool_dispatch import ToolSender
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import item_reader, source_count, source_item, step_context, streams
from headrace.orchestrator.core.winding_down import may_go
from headrace.orchestrator.core.work import MAX_WORK, TASK_WORK, Work
from headrace.schemas.base import remade, trusted
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.messages import ChatMessage, Failure, Lane, LlmCall, Task
from headrace.schemas.task_form import TaskForm

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
    if step.key is KeyRule.SESSION and any(turn.step_state(name).live for name in turn.graph.in_turn):
        return False
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
    if step.key is KeyRule.SESSION:
        left = _in_turn(turn, left)
    if step.script is not None:
        return min(left, len(next_calls(turn, step, state.next)))
    if step.kind is not StepKind.REDUCE and not streams(turn, step):
        return left
    count = 0
    while count < min(left, LOOK_AHEAD) and is_ready(turn, step, state.next + count):
        count += 1
    return count


def _in_turn(turn: Turn, count: int) -> int:
    """Return how many of so many tasks in turn may go out: one at a time, where it is the job's turn."""
    return min(1, count) if count > 0 and has_turn(turn) else 0


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
    state = turn.step_state(step.name)
    count = min(count, state.total - state.next, room(turn, step)) if may_go(turn, step) else 0
    if step.key is KeyRule.SESSION:
        count = _in_turn(turn, count)
    if step.script is not None:
        count = min(count, len(next_calls(turn, step, state.next)))
    if count <= 0:
        return refused
    sender = _sender(turn, step, state.next, None)
    sent = passed = done = 0
    always = step.kind is not StepKind.REDUCE and not streams(turn, step)
    for index in range(state.next, state.next + count):
        if done > DISPATCH_WORK or not (always or is_ready(turn, step, index)):
            break
        if step.script is not None and index > state.next:
            sender = _sender(turn, step, index, None)
        work = Work(TASK_WORK)
        try:
            failure = sender.send(index, work)
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
        turn.set_step(step.name, latest.moved(next=passed, live=sent))
    return refused


def dispatch_again(turn: Turn, step: Step, index: int, record: TaskRecord) -> Failure | None:
    """Send a waiting retry on its way. Where it cannot go, nothing changes."""
    failure = _sender(turn, step, index, record).send(index, Work(TASK_WORK))
    if failure is None:
        turn.set_step(step.name, turn.step_state(step.name).moved(retrying=-1, live=1))
        if record.cause:
            turn.header = budget.count_duplicate(turn.header, pool_of(turn, step, index, record))
    return failure


def task_again(turn: Turn, step: Step, index: int, record: TaskRecord) -> Task | None:
    """Return a task as it was last dispatched, for its dead letter; None where it cannot be rendered any more."""
    try:
        return _sender(turn, step, index, record).again(index, record, Work(TASK_WORK))
    except DependencyUnavailable:
        raise  # A store that does not answer is waited for.
    except HeadraceError:
        return None


def _sender(
    turn: Turn, step: Step, index: int, before: TaskRecord | None
) -> _Sender | ToolSender | CompareSender | NestedSender:
    """Return what sends a task on its way: in a plain step all of a grant."""
    if step.nested is not None:
        return NestedSender(turn, step, step.nested, before)
    if step.tool is not None:
        return ToolSender(turn, step, Call(tool=step.tool), before)
    call = call_of(turn, step, index)
    if call.semantic is not None:
        return CompareSender(turn, step, call, before)
    return ToolSender(turn, step, call, before) if call.tool is not None else _Sender(turn, step, before, call)


class _Sender:
    """Sends tasks of one step on their way. What they have in common is worked out once for all of a grant.

    Args:
        turn: the turn.
        step: the step.
        before: the task's record where it was tried before.
        call: which call it is.
    """

    def __init__(self, turn: Turn, step: Step, before: TaskRecord | None, call: Call) -> None:
        spec, llm = turn.header.spec, call.llm
        assert llm is not None
        self._turn, self._step, self._llm, self._before = turn, step, llm, before
        self._repair = before.repair if before is not None and before.repair and before.repair.is_open else None
        self._base = step_context(turn, step)
        self._names, self._more = call.names, call.more
        pool_name = before.edit.pool if before and before.edit and before.edit.pool else llm.pool
        self._pool = pool = turn.environment.pools[pool_name]
        self._forbidden = ""
        if pool_name in turn.environment.public_pools and is_confidential(turn, step):
            self._forbidden = f"step {step.name} is confidential, and pool {pool_name} is public"
        self._item: Callable[[int], Any] | None = None
        """Gives an item of a fan-out; made where the first is wanted, so that what it cannot read is that task's."""
        self._first: Task | None = None
        """The first task that was made: the others are made of it."""
        self._form: TaskForm | None = None
        self._fresh: TaskRecord | None = None
        """The record of tasks that go out for the first time; they may share it where nothing is reserved."""
        self._limited = budget.is_limited(turn.header)
        self._priced = pool.price.is_charged and llm.max_output_tokens is not None
        self._trace = tuple((name, text.encode()) for name, text in spec.trace)
        self._after, self._cause = "", ""
        if before is not None:
            self._after, self._cause = before.failure.kind.value if before.failure else "", before.cause
        # Checked when the job was accepted, so messages are made of it without being validated again.
        self._call = {
            "max_output_tokens": llm.max_output_tokens,
            "temperature": llm.temperature,
            "top_p": llm.top_p,
            "seed": llm.seed,
            "stop": llm.stop,
            "output_schema": llm.output_schema,
            "logprobs": llm.logprobs,
            "tools": llm.tools,
            "tool_choice": llm.tool_choice,
        }
        self._task = {
            "job_id": spec.job_id,
            "step": step.name,
            "pool": pool_name,
            "lane": Lane(spec.lane),
            "reply_partition": turn.view.partition,
            "tenant": spec.tenant,
            "sensitivity": sensitivity_of(turn, step),
            "workflow": spec.workflow,
            "template_hash": step.template_hash,
            "timeout_ms": step.timeout_ms or int(pool.timeout_s * 1000),
        }

    def send(self, index: int, work: Work) -> Failure | None:
        """Send one task on its way, or return why it cannot go.

        Args:
            index: the task's number within the step.
            work: what rendering its prompt may do.
        """
        turn, step = self._turn, self._step
        if self._forbidden:
            return Failure(kind=ErrorKind.BAD_REQUEST, message=self._forbidden)
        try:
            messages = self.messages(index, work)
        except (DependencyUnavailable, InputBroken):
            raise  # The store is waited for; a broken input fails the job, and not one task after the other.
        except HeadraceError as error:
            return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
        if self._repair is not None:
            messages = self._with_repair(messages, self._repair)
        weighed = self._weighed(messages)
        if refusal := self._refusal(weighed):
            return refusal
        reserved = None
        if self._limited or self._priced:
            reserved = budget.upper_bound(weighed, self._llm.max_output_tokens or 0, self._pool)
            if self._limited and not budget.fits(turn.header, reserved):
                return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=over_budget(turn.header, reserved))
            turn.header = budget.reserve(turn.header, reserved)
        record = self._fresh or outgoing(self._before, turn.now_ms, reserved)
        if self._before is None and reserved is None:
            self._fresh = record
        turn.put_task(step.name, index, record)
        task = self.task(index, record, messages)
        key = task.task_id if step.key is KeyRule.SPREAD else self._key(task)
        turn.effect(DispatchTask(task, key, self._trace, self._after, self._cause, self._form))
        if task.kind == "repair":
            state = turn.step_state(step.name)
            turn.set_step(step.name, replace(state, repaired=state.repaired + 1))
        return None

    def _key(self, task: Task) -> str:
        return record_key(self._step, task, spread_over=self._turn.environment.limits.prefix_keys)

    def again(self, index: int, record: TaskRecord, work: Work) -> Task:
        """Return a task as it was last dispatched; raises what `messages` does."""
        messages = self.messages(index, work)
        return self.task(index, record, self._with_repair(messages, self._repair) if self._repair else messages)

    def _with_repair(self, messages: tuple[ChatMessage, ...], repair: Repair) -> tuple[ChatMessage, ...]:
        """Return a prompt with the wrong answer shown; as it was where that has no room or cannot be afforded."""
        longer = (*messages, *repair.messages())
        weighed = self._weighed(longer)
        bound = budget.upper_bound(weighed, self._llm.max_output_tokens or 0, self._pool)
        if self._refusal(weighed) or (self._limited and not budget.fits(self._turn.header, bound)):
            return messages
        self._task["kind"] = "repair"
        return longer

    def _weighed(self, messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
        """Return messages as long as all that is sent: the tools that are offered go with them."""
        return weighed_with(messages, self._llm.tools) if self._llm.tools else messages

    def _refusal(self, messages: tuple[ChatMessage, ...]) -> Failure | None:
        tokens, most = self._pool.context_tokens, self._llm.max_output_tokens
        if is_plainly_small(messages, context_tokens=tokens, answer_tokens=most or 1):
            return None
        if refusal := unsendable(messages, objects=self._turn.environment.objects):
            return Failure(kind=ErrorKind.TOO_LARGE, message=refusal)
        if refusal := surely_too_long(messages, context_tokens=tokens, max_output_tokens=most):
            return Failure(kind=ErrorKind.CONTEXT_TOO_LONG, message=refusal)
        return None

    def messages(self, index: int, work: Work) -> tuple[ChatMessage, ...]:
        """Return a task's prompt, rendered; an operator's edit stands in its place.

        Raises:
            HeadraceError: a template cannot be rendered, or a value cannot be read.
        """
        edit = self._before.edit if self._before else None
        if edit and edit.messages is not None:
            return tuple(trusted(ChatMessage, role=role, content=content) for role, content in edit.messages)
        context, name = self._context(index), self._step.name
        contents = [render(template.content, context, step=name, work=work) for template in self._llm.messages]
        if (first := self._first) is not None and first.call is not None:
            made = zip(first.call.messages, contents, strict=True)
            return tuple([remade(message, content=content) for message, content in made])
        roles = [template.role for template in self._llm.messages]
        own = [trusted(ChatMessage, role=role, content=content) for role, content in zip(roles, contents, strict=True)]
        return (*own, *self._more())

    def _context(self, index: int) -> dict[str, Any]:
        match self._step.kind:
            case StepKind.FOR_EACH:
                if self._item is None:
                    self._item = item_reader(self._turn, self._step)
                return {**self._base, "item": self._item(index), "index": index}
            case StepKind.REDUCE:
                return {**self._base, "items": node_items(self._turn, self._step, index), "index": index}
            case StepKind.LLM:
                return self._base
            case _:
                return {**self._base, **self._names()}

    def task(self, index: int, record: TaskRecord, messages: tuple[ChatMessage, ...]) -> Task:
        """Build the task. All that one sender makes are of the same attempt and moment."""
        task_id = f"{self._task['job_id']}/{self._step.name}/{index}"
        if (first := self._first) is not None and first.call is not None:
            if self._form is None:
                self._form = TaskForm(first)
            return remade(first, task_id=task_id, call=remade(first.call, messages=messages))
        self._first = first = trusted(
            Task,
            task_id=task_id,
            attempt=record.attempt,
            not_after_ms=not_after_ms(self._turn, record),
            dispatched_at_ms=record.at_ms,
            call=trusted(LlmCall, messages=messages, **self._call),
            **self._task,
        )
        return first


def node_items(turn: Turn, step: Step, node: int) -> list[Any]:
    """Return what a node of a reduce tree merges, left to right, without what failed."""
    inputs = tree_of(turn, step).inputs_of(node)
    if inputs.leaf:
        items = [source_item(turn, step, item) for item in inputs.indices]
    else:
        items = [task_value(turn, step, child) for child in inputs.indices]
    return [item for item in items if item is not None]

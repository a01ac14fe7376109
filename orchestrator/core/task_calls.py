"""Which call a task is, and whose workers make it: of a scripted step that depends on the task's number."""

from __future__ import annotations

from itertools import takewhile

from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.steps import RetryRules, Step
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import walked


def call_of(turn: Turn, step: Step, index: int) -> Call:
    """Return which call a task of a step is."""
    if step.llm is not None:
        return Call(step.llm)
    return walked(turn, step).calls[index]


def pool_of(turn: Turn, step: Step, index: int, record: TaskRecord | None) -> str:
    """Return the pool of a task: the call's, unless an operator sent the task to another."""
    if record is not None and record.edit is not None and record.edit.pool:
        return record.edit.pool
    return plain_pool(step) or call_of(turn, step, index).pool


def plain_pool(step: Step) -> str | None:
    """Return the one pool to which all tasks of a step go; None of a scripted step."""
    if step.llm is not None:
        return step.llm.pool
    if step.tool is not None:
        return step.tool.pool
    return step.nested.pool if step.nested is not None else None


def tool_of(turn: Turn, step: Step, index: int) -> ToolPlan | None:
    """Return the tool that a task calls, or None."""
    if step.script is None:
        return step.tool
    return call_of(turn, step, index).tool


def retry_of(turn: Turn, step: Step, index: int) -> RetryRules:
    """Return how a task is tried again: as its step says, unless its call says otherwise."""
    if step.script is None:
        return step.retry
    return call_of(turn, step, index).retry or step.retry


def next_calls(turn: Turn, step: Step, start: int) -> list[Call]:
    """Return the calls of a scripted step from a task on, as far as they go to one pool: a grant is room in one."""
    calls = walked(turn, step).calls[start : turn.step_state(step.name).total]
    return list(takewhile(lambda call: call.pool == calls[0].pool, calls))

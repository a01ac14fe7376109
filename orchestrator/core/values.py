"""Values of inputs, items and steps, derived from the job's records."""

from __future__ import annotations

import json
from typing import Any

from headrace.orchestrator.core.aggregate import TreePlan, apply_reducer
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.split import split_text
from headrace.orchestrator.core.state import InputPart, StepStatus, TaskRecord, TaskStatus, input_key
from headrace.orchestrator.core.steps import OnErrorMode
from headrace.orchestrator.core.templates import RenderError, evaluate, references
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind, IllegalTransition

MAX_ITEMS = 1_000_000
"""Most tasks of one step: their ids and records are bounded with it."""


def job_input(turn: Turn) -> dict[str, Any]:
    """Return the job's input."""
    values = turn.view.memo.values
    if "input" not in values:
        values["input"] = json.loads(_input_text(turn))
    found: dict[str, Any] = values["input"]
    return found


def _input_text(turn: Turn) -> str | bytes:
    header = turn.header
    if header.input_ref is not None:
        return turn.load(header.input_ref)
    parts = []
    for number in range(header.input_parts):
        part = turn.record(input_key(header.job_id, number))
        if not isinstance(part, InputPart):
            raise IllegalTransition(f"job {header.job_id}: part {number} of its input is not in the state")
        parts.append(part.text)
    return "".join(parts)


def context_of(turn: Turn, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what a template may read: the input, and the values of the named steps that are done."""
    context: dict[str, Any] = {"input": job_input(turn)}
    for name in names:
        if turn.step_state(name).status is StepStatus.DONE:
            context[name] = step_value(turn, turn.graph.step(name))
    return context


def step_value(turn: Turn, step: Step) -> Any:
    """Return the value of a step that is done; worked out once, then kept in memory."""
    values = turn.view.memo.values
    key = f"step/{step.name}"
    if key not in values:
        values[key] = _value(turn, step)
    return values[key]


def _value(turn: Turn, step: Step) -> Any:
    match step.kind:
        case StepKind.SPLIT:
            return split_items(turn, step)
        case StepKind.LLM:
            return task_value(turn, step, 0)
        case StepKind.FOR_EACH:
            return [task_value(turn, step, index) for index in range(turn.step_state(step.name).total)]
        case StepKind.REDUCE:
            return reduced_value(turn, step)


def split_items(turn: Turn, step: Step) -> list[Any]:
    """Return the chunks of a split step, the same on every replay."""
    assert step.split is not None
    text = evaluate(step.split.text, context_of(turn, step.needs), step=step.name, work=turn.work)
    if not isinstance(text, str):
        raise RenderError(f"step {step.name}: split takes a text, and was given a {type(text).__name__}")
    count = turn.environment.counters.get(turn.header.tokens_rule)
    if count is None:
        raise IllegalTransition(
            f"job {turn.job_id} counts tokens by {turn.header.tokens_rule}, which this instance does not have",
            "install the extra `tokens` on every orchestrator",
        )
    return split_text(text, by=step.split.by, size=step.split.size, count_tokens=count, format=step.split.format)


def reduced_value(turn: Turn, step: Step) -> Any:
    """Return what a reduce step comes to: its root's output, or what the pure reducer makes of the items."""
    items = source_items(turn, step)
    if step.reducer is not None:
        return apply_reducer(step.reducer, [item for item in items if item is not None])
    root = TreePlan(len(items), step.fan_in).root
    return None if root is None else task_value(turn, step, root)


def task_value(turn: Turn, step: Step, index: int) -> Any:
    """Return a task's output; what stands in for it where it failed and the step lets it."""
    record = turn.task(step.name, index)
    if record is None or record.status is not TaskStatus.DONE:
        return step.on_error.value if step.on_error.mode is OnErrorMode.DEFAULT else None
    return _output(turn, record)


def _output(turn: Turn, record: TaskRecord) -> Any:
    if record.output_ref is not None:
        return json.loads(turn.load(record.output_ref))
    return record.output


def source_items(turn: Turn, step: Step) -> list[Any]:
    """Return the items of a step whose source is complete.

    Raises:
        RenderError: the source is not a list, or has too many items.
    """
    values = turn.view.memo.values
    key = f"items/{step.name}"
    if key not in values:
        values[key] = _items(turn, step)
    found: list[Any] = values[key]
    return found


def _items(turn: Turn, step: Step) -> list[Any]:
    assert step.source is not None
    if step.source.step is not None:
        items = step_value(turn, turn.graph.step(step.source.step))
    else:
        assert step.source.expression is not None
        items = evaluate(step.source.expression, context_of(turn, step.needs), step=step.name, work=turn.work)
    if not isinstance(items, list | tuple):
        raise RenderError(f"step {step.name}: its source is a {type(items).__name__}, and a list is needed")
    if len(items) > MAX_ITEMS:
        raise RenderError(f"step {step.name}: {len(items)} items, at most {MAX_ITEMS}", kind=ErrorKind.TOO_LARGE)
    return list(items)


def streams(turn: Turn, step: Step) -> bool:
    """Return whether a step may take items of its source while the source still runs.

    True where the source is a fan-out and no template of the step reads the source as a whole.
    """
    if step.source is None or step.source.step is None or step.llm is None:
        return False
    values = turn.view.memo.values
    key = f"streams/{step.name}"
    if key not in values:
        source = step.source.step
        reads = any(source in references(message.content) for message in step.llm.messages)
        values[key] = turn.graph.step(source).kind is StepKind.FOR_EACH and not reads
    return bool(values[key])


def source_item(turn: Turn, step: Step, index: int) -> Any:
    """Return one item of a step's source, whether or not the source is complete."""
    assert step.source is not None
    if streams(turn, step):
        assert step.source.step is not None
        return task_value(turn, turn.graph.step(step.source.step), index)
    return source_items(turn, step)[index]

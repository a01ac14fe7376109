"""Values of inputs, items and steps, derived from the job's records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from headrace.orchestrator.core.aggregate import TreePlan, apply_reducer
from headrace.orchestrator.core.gathering import gathered, present, task_value
from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.items import ItemsElsewhere, by_reference, referenced_item
from headrace.orchestrator.core.payloads import InputBroken, PayloadLost
from headrace.orchestrator.core.scripts.run import Finished
from headrace.orchestrator.core.scripts.walk import Walk, walk
from headrace.orchestrator.core.split import split_text
from headrace.orchestrator.core.state import InputPart, StepStatus, input_key
from headrace.orchestrator.core.steps import OnErrorMode
from headrace.orchestrator.core.template_uses import names_read, texts_of
from headrace.orchestrator.core.templates import RenderError, evaluate, references
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.waits import waited_value
from headrace.orchestrator.core.work import CONDITION_WORK, Work
from headrace.schemas.errors import ErrorKind, IllegalTransition
from headrace.schemas.ids import session_of
from headrace.schemas.submission import MAX_ITEMS


def job_input(turn: Turn) -> dict[str, Any]:
    """Return the job's input."""
    values = turn.view.memo.values
    if "input" not in values:
        values["input"] = json.loads(_input_text(turn))
        if turn.header.spec.items_total:
            values["input"]["items"] = ItemsElsewhere(turn.header.spec.items_total)
    found: dict[str, Any] = values["input"]
    return found


def _input_text(turn: Turn) -> str | bytes:
    header = turn.header
    if header.spec.input_ref is not None:
        try:
            return turn.load(header.spec.input_ref)
        except PayloadLost as error:
            raise InputBroken(f"the job's input: {error.message}", kind=error.kind) from None
    parts = []
    for number in range(header.spec.input_parts):
        part = turn.record(input_key(header.spec.job_id, number))
        if not isinstance(part, InputPart):
            raise IllegalTransition(f"job {header.spec.job_id}: part {number} of its input is not in the state")
        parts.append(part.text)
    return "".join(parts)


def step_context(turn: Turn, step: Step) -> dict[str, Any]:
    """Return what the prompt of a step may read: the input, and the steps that its templates name.

    Its source is among them only where a template names it: a prompt that reads its item must not bring in all.
    """
    values = turn.view.memo.values
    key = f"names/{step.name}"
    if key not in values:
        values[key] = names_read(step.texts())
    return _context(turn, step.needs, values[key])


def evaluated(turn: Turn, step: Step, template: str, names: Mapping[str, Any]) -> Any:
    """Return the value of one of a step's conditions; what it may do does not depend on how often it is looked at.

    Args:
        names: what it knows beside the step's own names.

    Raises:
        RenderError: it cannot be evaluated.
    """
    context = {**_context(turn, step.needs, names_read((template,))), **names}
    return evaluate(template, context, step=step.name, work=Work(CONDITION_WORK))


def walked(turn: Turn, step: Step) -> Walk:
    """Return where a scripted step stands, walked once for what its records are; see `walk` for what it raises."""
    state = turn.step_state(step.name)
    seen = (state.total, turn.header.ending, [turn.task(step.name, index) for index in range(state.next)])
    kept = turn.walks.get(step.name)
    if kept is None or kept[0] != seen:
        kept = turn.walks[step.name] = (seen, walk(turn, step, partial(evaluated, turn, step)))
    return kept[1]


def output_context(turn: Turn) -> dict[str, Any]:
    """Return what the workflow's output may read."""
    graph = turn.graph
    return _context(turn, graph.output_needs, names_read(texts_of(graph.output)))


def _context(turn: Turn, needs: tuple[str, ...], names: dict[str, bool]) -> dict[str, Any]:
    """Return the input, and the named steps that are done; one that is only counted is not gathered for it."""
    context: dict[str, Any] = {"input": job_input(turn)}
    if "job" in names:
        spec = turn.header.spec
        labels, session = dict(spec.labels), session_of(spec.job_id)
        context["job"] = {
            "id": spec.job_id, "session": session, "labels": labels, "tenant": spec.tenant, "lane": spec.lane
        }  # fmt: skip
    for name in needs:
        state = turn.step_state(name)
        if name not in names or state.status is not StepStatus.DONE:
            continue
        step = turn.graph.step(name)
        context[name] = step_value(turn, step) if names[name] or not step.yields_list else range(state.total)
    return context


def step_value(turn: Turn, step: Step) -> Any:
    """Return the value of a step that is done; worked out once, then kept in memory."""
    values = turn.view.memo.values
    key = f"step/{step.name}"
    if key not in values:
        values[key] = _value(turn, step)
    return values[key]


def _value(turn: Turn, step: Step) -> Any:
    if turn.step_state(step.name).skipped:
        return None
    match step.kind:
        case StepKind.SPLIT:
            return split_items(turn, step)
        case StepKind.LLM | StepKind.TOOL | StepKind.WORKFLOW:
            return task_value(turn, step, 0)
        case StepKind.FOR_EACH:
            return gathered(turn, step)
        case StepKind.REDUCE:
            return reduced_value(turn, step)
        case StepKind.WAIT:
            return waited_value(turn, step)
        case _:
            return scripted_value(turn, step)


def scripted_value(turn: Turn, step: Step) -> Any:
    """Return what a scripted step came to; what stands in for it where it failed and may."""
    end = walked(turn, step).then
    if isinstance(end, Finished):
        return end.value()
    return step.on_error.value if step.on_error.mode is OnErrorMode.DEFAULT else None


def split_items(turn: Turn, step: Step) -> list[Any]:
    """Return the chunks of a split step, the same on every replay."""
    assert step.split is not None
    text = _evaluated(turn, step, step.split.text)
    if not isinstance(text, str):
        raise RenderError(f"step {step.name}: split takes a text, and was given a {type(text).__name__}")
    count = turn.environment.counters.get(turn.header.spec.tokens_rule)
    if count is None:
        raise IllegalTransition(
            f"job {turn.job_id} counts tokens by {turn.header.spec.tokens_rule}, which this instance does not have",
            "install the extra `tokens` on every orchestrator",
        )
    plan = step.split
    return split_text(text, by=plan.by, size=plan.size, count_tokens=count, overlap=plan.overlap, format=plan.format)


def _evaluated(turn: Turn, step: Step, template: str) -> Any:
    return evaluate(template, _context(turn, step.needs, names_read((template,))), step=step.name, work=turn.work)


def reduced_value(turn: Turn, step: Step) -> Any:
    """Return what a reduce step comes to: its root's output, or what the pure reducer makes of the items."""
    if step.reducer is not None:
        return _reduced(turn, step, step.reducer)
    root = TreePlan(source_count(turn, step), step.fan_in).root
    return None if root is None else task_value(turn, step, root)


def _reduced(turn: Turn, step: Step, reducer: str) -> Any:
    source = turn.graph.step(step.source.step) if step.source is not None and step.source.step is not None else None
    if reducer == "count" and source is not None and source.kind is StepKind.FOR_EACH:
        return present(turn, source)
    return apply_reducer(reducer, [item for item in source_items(turn, step) if item is not None])


def source_count(turn: Turn, step: Step) -> int:
    """Return how many items a step takes, whether or not they can be read already.

    Raises:
        RenderError: the source is not a list, or has too many items.
    """
    if by_reference(turn, step):
        return turn.header.spec.items_total
    if streams(turn, step):
        assert step.source is not None
        return turn.step_state(str(step.source.step)).total
    return len(source_items(turn, step))


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
    if by_reference(turn, step):
        return [referenced_item(turn, index) for index in range(turn.header.spec.items_total)]
    if step.source.step is not None:
        if turn.step_state(step.source.step).skipped:
            return []
        items = step_value(turn, turn.graph.step(step.source.step))
    else:
        assert step.source.expression is not None
        items = _evaluated(turn, step, step.source.expression)
    if not isinstance(items, list | tuple):
        raise RenderError(f"step {step.name}: its source is a {type(items).__name__}, and a list is needed")
    if len(items) > MAX_ITEMS:
        raise RenderError(f"step {step.name}: {len(items)} items, at most {MAX_ITEMS}", kind=ErrorKind.TOO_LARGE)
    return list(items)


def streams(turn: Turn, step: Step) -> bool:
    """Return whether a step may take items of its source while the source still runs.

    True where the source is a fan-out and no template of the step reads the source as a whole.
    """
    if step.source is None or step.source.step is None or not step.makes_tasks:
        return False
    values = turn.view.memo.values
    key = f"streams/{step.name}"
    if key not in values:
        source = step.source.step
        reads = any(source in references(text) for text in step.texts())
        values[key] = turn.graph.step(source).kind is StepKind.FOR_EACH and not reads
    return bool(values[key])


def source_item(turn: Turn, step: Step, index: int) -> Any:
    """Return one item of a step's source, whether or not the source is complete."""
    return item_reader(turn, step)(index)


def item_reader(turn: Turn, step: Step) -> Callable[[int], Any]:
    """Return what gives an item of a step's source by its index; where the items lie is found out once."""
    assert step.source is not None
    if by_reference(turn, step):
        return partial(referenced_item, turn)
    if streams(turn, step):
        assert step.source.step is not None
        return partial(task_value, turn, turn.graph.step(step.source.step))
    return source_items(turn, step).__getitem__

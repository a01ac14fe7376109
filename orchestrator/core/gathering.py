"""Outputs of tasks, one or all of a step: inline in their records, or in the object store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.payloads import PayloadLost
from headrace.orchestrator.core.state import TaskRecord, TaskStatus
from headrace.orchestrator.core.steps import OnErrorMode
from headrace.orchestrator.core.templates import RenderError
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ObjectRef


def task_value(turn: Turn, step: Step, index: int) -> Any:
    """Return a task's output; what stands in for it where it failed and the step lets it.

    Raises:
        PayloadLost: it lay in the object store.
        DependencyUnavailable: it cannot be read now.
    """
    return _value(turn, step, turn.task(step.name, index))


def gathered(turn: Turn, step: Step) -> list[Any]:
    """Return the outputs of all tasks of a step, in the order of its items.

    Raises:
        RenderError: together they are larger than a value may be.
        PayloadLost: one of them lay in the object store.
        DependencyUnavailable: the store does not answer, or has not answered yet.
    """
    records = [turn.task(step.name, index) for index in range(turn.step_state(step.name).total)]
    _check_size(turn, step, records)
    turn.expect(record.output_ref for record in records if record is not None and record.output_ref is not None)
    return [_value(turn, step, record) for record in records]


def present(turn: Turn, step: Step) -> int:
    """Return how many outputs of a step are there, without reading what lies in the object store."""
    count = 0
    for index in range(turn.step_state(step.name).total):
        record = turn.task(step.name, index)
        # What is large enough to be stored is no null.
        by_reference = record is not None and record.output_ref is not None
        count += by_reference or _value(turn, step, record) is not None
    return count


def _check_size(turn: Turn, step: Step, records: Iterable[TaskRecord | None]) -> None:
    most, size = turn.environment.limits.max_value_bytes, 0
    for record in records:
        if record is None:
            continue
        if record.output_ref is not None:
            size += record.output_ref.size_bytes
        elif isinstance(record.output, str):
            size += len(record.output)
        elif record.output is not None:
            size += len(json.dumps(record.output, ensure_ascii=False))
        if size > most:
            raise RenderError(
                f"step {step.name}: its outputs together have more than {most:,} bytes, the most that one value may "
                f"have: reduce them, or count them with {{{{ {step.name} | length }}}}",
                kind=ErrorKind.TOO_LARGE,
            )


def _value(turn: Turn, step: Step, record: TaskRecord | None) -> Any:
    if record is None or record.status is not TaskStatus.DONE:
        return step.on_error.value if step.on_error.mode is OnErrorMode.DEFAULT else None
    if record.output_ref is not None:
        return _stored(turn, record.output_ref)
    return record.output


def _stored(turn: Turn, ref: ObjectRef) -> Any:
    try:
        return json.loads(turn.load(ref))
    except (ValueError, RecursionError):
        raise PayloadLost(f"object {ref.key} holds no JSON") from None

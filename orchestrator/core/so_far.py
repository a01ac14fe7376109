"""What a job has when it ends early: the outputs that are there, within bounds. Reads records, changes none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.graph import Step, StepKind
from headrace.orchestrator.core.state import StepState, StepStatus, TaskRecord, TaskStatus
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import scripted_value
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import HeadraceError

MAX_ITEMS = 10_000
"""Items that are looked at, over all steps: an end must not take as long as its job is large."""
MAX_BYTES = 4_000_000
"""Of the outputs' JSON."""


@dataclass(slots=True)
class SoFar:
    """Outputs by step."""

    outputs: dict[str, Any] = field(default_factory=dict)
    """One value; of a fan-out the list of its items, null where there is none, a reference where it is large."""
    cut: bool = False
    """Whether there is more than is shown."""
    _items: int = MAX_ITEMS
    _bytes: int = MAX_BYTES

    def add(self, turn: Turn, step: Step) -> None:
        """Add what a step has."""
        state = turn.step_state(step.name)
        if state.status is StepStatus.WAITING or not state.done or not step.makes_tasks:
            return
        if step.kind is StepKind.FOR_EACH:
            self._add_items(turn, step, state.next)
        elif step.script is not None:
            self._add_script(turn, step, state)
        elif state.status is StepStatus.DONE:
            value = self._output(turn.task(step.name, state.total - 1))
            if value is not None:
                self.outputs[step.name] = value

    def _add_script(self, turn: Turn, step: Step, state: StepState) -> None:
        """Add what a script came to. Where it rests on what would have to be read first, that is left out."""
        if state.status is not StepStatus.DONE or state.skipped:
            return
        try:
            value = scripted_value(turn, step)
        except HeadraceError:
            self.cut = True
            return
        if value is not None:
            self.outputs[step.name] = value
            self._bytes -= len(canonical_json(value))

    def _add_items(self, turn: Turn, step: Step, count: int) -> None:
        shown = min(count, self._items)
        self._items -= shown
        self.cut = self.cut or shown < count
        values = []
        for index in range(shown):
            if self._bytes <= 0:
                self.cut = True
                break
            values.append(self._output(turn.task(step.name, index)))
        while values and values[-1] is None:
            values.pop()
        if values:
            self.outputs[step.name] = values

    def _output(self, record: TaskRecord | None) -> Any:
        """Return a task's output; nothing is read from the object store, which could take long and fail."""
        if record is None or record.status is not TaskStatus.DONE:
            return None
        value = record.output if record.output_ref is None else {"output_ref": record.output_ref.model_dump()}
        self._bytes -= len(value) if isinstance(value, str) else len(canonical_json(value))
        return value


def so_far(turn: Turn) -> SoFar:
    """Return what a job that ends early has to show."""
    found, graph = SoFar(), turn.graph_or_none
    for step in graph.steps if graph else ():
        found.add(turn, step)
    return found

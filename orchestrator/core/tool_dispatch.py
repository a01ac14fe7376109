"""A call of a tool on its way to a worker: arguments rendered as structure, and checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.call_sender import CallSender
from headrace.orchestrator.core.context import MAX_CALL_BYTES, MAX_INLINE_CALL_BYTES
from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.steps import Step, StepKind
from headrace.orchestrator.core.templates import RenderError, evaluate_structure
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import item_reader
from headrace.orchestrator.core.work import Work
from headrace.schemas.base import trusted
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ToolCall

MAX_SAID = 500
"""Characters of what is wrong with arguments."""


class ToolSender(CallSender[ToolCall]):
    """Sends calls of one step's tool on their way; see `CallSender`."""

    field = "tool"

    def __init__(self, turn: Turn, step: Step, call: Call, before: TaskRecord | None) -> None:
        super().__init__(turn, step, call, before)
        assert call.tool is not None
        self._tool = call.tool
        self._item: Callable[[int], Any] | None = None

    @property
    def charged(self) -> bool:
        return bool(self._tool.price_microusd)

    @property
    def timeout_ms(self) -> int:
        return self._step.timeout_ms or self._tool.timeout_ms or super().timeout_ms

    @property
    def outside(self) -> str:
        return f"tool {self._tool.name}" if self._tool.public else ""

    def bound(self, payload: ToolCall) -> budget.Bound:
        del payload
        return (0, self._tool.price_microusd)

    def payload(self, index: int, work: Work) -> ToolCall:
        arguments = self._call.arguments
        if arguments is None:
            arguments = self._rendered(index, work)
        if found := findings(self._tool.schema, arguments):
            said = "; ".join(found)[:MAX_SAID]
            raise RenderError(f"step {self._step.name}: the arguments of {self._tool.name} do not hold: {said}")
        most = MAX_CALL_BYTES if self._turn.environment.objects else MAX_INLINE_CALL_BYTES
        if (size := len(canonical_json(arguments))) > most:
            message = f"step {self._step.name}: arguments of {size:,} bytes; at most {most:,} can be sent"
            raise RenderError(message, kind=ErrorKind.TOO_LARGE)
        return trusted(ToolCall, tool=self._tool.name, arguments=arguments)

    def _rendered(self, index: int, work: Work) -> dict[str, Any]:
        context = {**self._base, **self._call.names()}
        if self._step.kind is StepKind.FOR_EACH:
            if self._item is None:
                self._item = item_reader(self._turn, self._step)
            context = {**context, "item": self._item(index), "index": index}
        rendered: dict[str, Any] = evaluate_structure(self._tool.arguments, context, step=self._step.name, work=work)
        return rendered

"""The comparison of a text with a route's examples on its way to a worker that embeds."""

from __future__ import annotations

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.call_sender import CallSender
from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.semantic import embed_call, upper_bound
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.templates import render
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.work import Work
from headrace.schemas.messages import EmbedCall


class CompareSender(CallSender[EmbedCall]):
    """Sends comparisons on their way; see `CallSender`."""

    field = "embed"

    def __init__(self, turn: Turn, step: Step, call: Call, before: TaskRecord | None) -> None:
        super().__init__(turn, step, call, before)
        assert call.semantic is not None
        self._plan = call.semantic

    @property
    def charged(self) -> bool:
        return self._pool.price.is_charged

    def bound(self, payload: EmbedCall) -> budget.Bound:
        return upper_bound(payload, self._pool)

    def payload(self, index: int, work: Work) -> EmbedCall:
        del index
        # Never too large to be sent: the examples stand in a workflow's text, and of a long text the beginning goes.
        return embed_call(self._plan, render(self._plan.text, self._base, step=self._step.name, work=work))

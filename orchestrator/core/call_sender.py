"""A call that is rendered to one payload (of a tool, of embeddings) on its way to a worker, within the budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.outgoing import not_after_ms, outgoing, over_budget
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.sensitivity import is_confidential, sensitivity_of
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.steps import Step
from headrace.orchestrator.core.task_keys import record_key
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import step_context
from headrace.orchestrator.core.work import Work
from headrace.schemas.base import trusted
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.messages import EmbedCall, Failure, Lane, Task, ToolCall

Payload = TypeVar("Payload", ToolCall, EmbedCall)


class CallSender(ABC, Generic[Payload]):
    """Sends calls of one kind on their way; made once for all tasks of a grant.

    Args:
        turn: the turn.
        step: the step.
        call: which call it is.
        before: the task's record where it was tried before.
    """

    field: str
    """Under which name a task has the payload."""

    def __init__(self, turn: Turn, step: Step, call: Call, before: TaskRecord | None) -> None:
        self._turn, self._step, self._call, self._before = turn, step, call, before
        self._base = step_context(turn, step)
        self._pool = turn.environment.pools[call.pool]

    @abstractmethod
    def payload(self, index: int, work: Work) -> Payload:
        """Return what a worker is sent.

        Raises:
            HeadraceError: it cannot be rendered, does not hold, or is too large.
        """

    @abstractmethod
    def bound(self, payload: Payload) -> budget.Bound:
        """Return the most tokens and micro-US-dollars that a call can cost."""

    @property
    @abstractmethod
    def charged(self) -> bool:
        """Whether a call costs anything."""

    @property
    def outside(self) -> str:
        """What nothing confidential may be sent to, as it is spoken of; empty where all may be."""
        return f"pool {self._call.pool}" if self._call.pool in self._turn.environment.public_pools else ""

    @property
    def timeout_ms(self) -> int:
        """How long a call may take."""
        return self._step.timeout_ms or int(self._pool.timeout_s * 1000)

    def send(self, index: int, work: Work) -> Failure | None:
        """Send one call on its way, or return why it cannot go.

        Args:
            index: the task's number within the step.
            work: what rendering it may do.
        """
        turn = self._turn
        if (outside := self.outside) and is_confidential(turn, self._step):
            message = f"step {self._step.name} is confidential, and {outside} is public"
            return Failure(kind=ErrorKind.BAD_REQUEST, message=message)
        try:
            payload = self.payload(index, work)
        except (DependencyUnavailable, InputBroken):
            raise  # As with a prompt: see `dispatch`.
        except HeadraceError as error:
            return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
        reserved = self.bound(payload) if budget.is_limited(turn.header) or self.charged else None
        if reserved is not None:
            if not (self._call.compulsory or budget.fits(turn.header, reserved)):
                return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=over_budget(turn.header, reserved))
            turn.header = budget.reserve(turn.header, reserved)
        record = outgoing(self._before, turn.now_ms, reserved)
        turn.put_task(self._step.name, index, record)
        task = self._task(index, record, payload)
        before, trace = self._before, tuple((name, text.encode()) for name, text in turn.header.spec.trace)
        after = before.failure.kind.value if before is not None and before.failure is not None else ""
        key = record_key(self._step, task, spread_over=1)
        turn.effect(DispatchTask(task, key, trace, after, before.cause if before is not None else ""))
        return None

    def again(self, index: int, record: TaskRecord, work: Work) -> Task:
        """Return a task as it was last dispatched; raises what `payload` does."""
        return self._task(index, record, self.payload(index, work))

    def _task(self, index: int, record: TaskRecord, payload: Payload) -> Task:
        turn, step = self._turn, self._step
        spec = turn.header.spec
        fields: dict[str, Any] = {self.field: payload}
        return trusted(
            Task,
            task_id=f"{spec.job_id}/{step.name}/{index}",
            job_id=spec.job_id,
            step=step.name,
            attempt=record.attempt,
            pool=self._call.pool,
            lane=Lane(spec.lane),
            reply_partition=turn.view.partition,
            tenant=spec.tenant,
            sensitivity=sensitivity_of(turn, step),
            workflow=spec.workflow,
            template_hash=step.template_hash,
            timeout_ms=self.timeout_ms,
            not_after_ms=not_after_ms(turn, record, compulsory=self._call.compulsory),
            dispatched_at_ms=record.at_ms,
            **fields,
        )

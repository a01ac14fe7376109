"""A call of a tool on its way to a worker: arguments rendered as structure, and checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.context import MAX_CALL_BYTES, MAX_INLINE_CALL_BYTES
from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.outgoing import not_after_ms, outgoing, over_budget
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.scripts.run import Call
from headrace.orchestrator.core.sensitivity import is_confidential, sensitivity_of
from headrace.orchestrator.core.state import TaskRecord
from headrace.orchestrator.core.steps import Step, StepKind
from headrace.orchestrator.core.task_keys import record_key
from headrace.orchestrator.core.templates import RenderError, evaluate_structure
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import item_reader, step_context
from headrace.orchestrator.core.work import Work
from headrace.schemas.base import trusted
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.messages import Failure, Lane, Task, ToolCall

MAX_SAID = 500
"""Characters of what is wrong with arguments."""


class ToolSender:
    """Sends calls of one step's tool on their way; made once for all tasks of a grant.

    Args:
        turn: the turn.
        step: the step.
        call: which call of a tool it is.
        before: the task's record where it was tried before.
    """

    def __init__(self, turn: Turn, step: Step, call: Call, before: TaskRecord | None) -> None:
        assert call.tool is not None
        self._turn, self._step, self._tool, self._before = turn, step, call.tool, before
        self._call = call
        self._base = step_context(turn, step)
        self._item: Callable[[int], Any] | None = None

    def send(self, index: int, work: Work) -> Failure | None:
        """Send one call on its way, or return why it cannot go.

        Args:
            index: the task's number within the step.
            work: what rendering its arguments may do.
        """
        turn = self._turn
        if self._tool.public and is_confidential(turn, self._step):
            message = f"step {self._step.name} is confidential, and tool {self._tool.name} is public"
            return Failure(kind=ErrorKind.BAD_REQUEST, message=message)
        try:
            arguments = self._arguments(index, work)
        except (DependencyUnavailable, InputBroken):
            raise  # As with a prompt: see `dispatch`.
        except HeadraceError as error:
            return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
        bound = (0, self._tool.price_microusd)
        reserved = bound if budget.is_limited(turn.header) or self._tool.price_microusd else None
        if reserved is not None:
            if not (self._call.compulsory or budget.fits(turn.header, reserved)):
                return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=over_budget(turn.header, reserved))
            turn.header = budget.reserve(turn.header, reserved)
        record = outgoing(self._before, turn.now_ms, reserved)
        turn.put_task(self._step.name, index, record)
        task = self._task(index, record, arguments)
        before, trace = self._before, tuple((name, text.encode()) for name, text in turn.header.spec.trace)
        after = before.failure.kind.value if before is not None and before.failure is not None else ""
        key = record_key(self._step, task, spread_over=1)
        turn.effect(DispatchTask(task, key, trace, after, before.cause if before is not None else ""))
        return None

    def again(self, index: int, record: TaskRecord, work: Work) -> Task:
        """Return a task as it was last dispatched.

        Raises:
            HeadraceError: its arguments cannot be rendered any more.
        """
        return self._task(index, record, self._arguments(index, work))

    def _arguments(self, index: int, work: Work) -> dict[str, Any]:
        """Return the arguments, which hold the tool's schema.

        Raises:
            HeadraceError: they cannot be rendered, do not hold, or are too large.
        """
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
        return arguments

    def _rendered(self, index: int, work: Work) -> dict[str, Any]:
        context = {**self._base, **self._call.names()}
        if self._step.kind is StepKind.FOR_EACH:
            if self._item is None:
                self._item = item_reader(self._turn, self._step)
            context = {**context, "item": self._item(index), "index": index}
        rendered: dict[str, Any] = evaluate_structure(self._tool.arguments, context, step=self._step.name, work=work)
        return rendered

    def _task(self, index: int, record: TaskRecord, arguments: dict[str, Any]) -> Task:
        turn, step = self._turn, self._step
        spec, pool = turn.header.spec, turn.environment.pools[self._tool.pool]
        return trusted(
            Task,
            task_id=f"{spec.job_id}/{step.name}/{index}",
            job_id=spec.job_id,
            step=step.name,
            attempt=record.attempt,
            pool=self._tool.pool,
            lane=Lane(spec.lane),
            reply_partition=turn.view.partition,
            tenant=spec.tenant,
            sensitivity=sensitivity_of(turn, step),
            workflow=spec.workflow,
            template_hash=step.template_hash,
            timeout_ms=step.timeout_ms or self._tool.timeout_ms or int(pool.timeout_s * 1000),
            not_after_ms=not_after_ms(turn, record, compulsory=self._call.compulsory),
            dispatched_at_ms=record.at_ms,
            tool=trusted(ToolCall, tool=self._tool.name, arguments=arguments),
        )

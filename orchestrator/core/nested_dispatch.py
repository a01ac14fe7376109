"""A nested workflow on its way: a job of its own, which inherits deadline, budget, sensitivity and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from headrace.orchestrator.core import budget
from headrace.orchestrator.core.effects import SubmitNested
from headrace.orchestrator.core.nested_plan import NestedPlan
from headrace.orchestrator.core.outgoing import outgoing, over_budget
from headrace.orchestrator.core.payloads import InputBroken
from headrace.orchestrator.core.sensitivity import sensitivity_of
from headrace.orchestrator.core.state import TaskRecord, TaskStatus
from headrace.orchestrator.core.steps import Step, StepKind
from headrace.orchestrator.core.templates import evaluate_structure
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import item_reader, step_context
from headrace.orchestrator.core.work import Work
from headrace.schemas.base import Lane
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.ids import nested_job_id
from headrace.schemas.messages import Budget, Failure, ParentRef, Submission, Task


class NestedSender:
    """Sends nested jobs of one step on their way; made once for all tasks of a grant.

    Args:
        turn: the turn.
        step: the step.
        nested: its workflow.
        before: the task's record where it was tried before.
    """

    def __init__(self, turn: Turn, step: Step, nested: NestedPlan, before: TaskRecord | None) -> None:
        self._turn, self._step, self._nested, self._before = turn, step, nested, before
        self._base = step_context(turn, step)
        self._item: Callable[[int], Any] | None = None

    def send(self, index: int, work: Work) -> Failure | None:
        """Submit one nested job, or return why it cannot be.

        Args:
            index: the task's number within the step.
            work: what rendering its input may do.
        """
        turn = self._turn
        try:
            value = evaluate_structure(self._nested.input, self._context(index), step=self._step.name, work=work)
        except (DependencyUnavailable, InputBroken):
            raise  # As with a prompt: see `dispatch`.
        except HeadraceError as error:
            return Failure(kind=getattr(error, "kind", ErrorKind.INVALID_INPUT), message=error.message)
        data = canonical_json(value)
        by_reference = len(data) > turn.environment.limits.inline_bytes
        if by_reference and not turn.environment.objects:
            message = f"a nested input of {len(data):,} bytes needs an object store: install the extra `objects`"
            return Failure(kind=ErrorKind.TOO_LARGE, message=message)
        share, reserved = self._share(index), None
        if share is not None:
            reserved = (share.tokens or 0, share.microusd or 0)
            if budget.is_limited(turn.header):
                if 0 in (share.tokens, share.microusd) or not budget.fits(turn.header, reserved):
                    return Failure(kind=ErrorKind.BUDGET_EXCEEDED, message=over_budget(turn.header, reserved))
                turn.header = budget.reserve(turn.header, reserved)
            else:
                reserved = None
        record = outgoing(self._before, turn.now_ms, reserved)
        turn.put_task(self._step.name, index, record)
        given = {"input_ref": turn.store(data)} if by_reference else {"input": value}
        self._submit(index, record, share, given)
        return None

    def again(self, _index: int, _record: TaskRecord, _work: Work) -> Task | None:
        """Return nothing: the tasks of the nested job lie in the dead letters themselves."""
        return None

    def _context(self, index: int) -> dict[str, Any]:
        if self._step.kind is not StepKind.FOR_EACH:
            return self._base
        if self._item is None:
            self._item = item_reader(self._turn, self._step)
        return {**self._base, "item": self._item(index), "index": index}

    def _share(self, index: int) -> Budget | None:
        """Return what the nested job may spend: what the step says, else an equal share of what is left."""
        header, nested = self._turn.header, self._nested
        state = header.step(self._step.name)
        waiting = state.total - (index if self._before is None else state.next - 1)
        tokens, microusd = budget.booked(header)
        shares = [
            said if said is not None or most is None else max(0, most - spent) // max(1, waiting)
            for said, most, spent in (
                (nested.tokens, header.spec.budget_tokens, tokens),
                (nested.microusd, header.spec.budget_microusd, microusd),
            )
        ]
        return None if shares == [None, None] else Budget(tokens=shares[0], microusd=shares[1])

    def _submit(self, index: int, record: TaskRecord, share: Budget | None, given: dict[str, Any]) -> None:
        turn, spec = self._turn, self._turn.header.spec
        task_id = f"{spec.job_id}/{self._step.name}/{index}"
        job_id = nested_job_id(task_id, record.attempt)
        depth = 1 + (spec.parent.depth if spec.parent is not None else 0)
        submission = Submission(
            job_id=job_id,
            workflow=self._nested.workflow,
            tenant=spec.tenant,
            lane=Lane(spec.lane),
            priority=spec.priority,
            deadline=self._deadline(record),
            budget=share,
            sensitivity=sensitivity_of(turn, self._step),
            labels=dict(spec.labels),
            parent=ParentRef(task_id=task_id, attempt=record.attempt, depth=depth),
            **given,
        )
        trace = tuple((name, text.encode()) for name, text in spec.trace)
        turn.effect(SubmitNested(job_id, submission, trace))
        subject = f"{index}/{record.attempt}"
        turn.announce("job.nested", step=self._step.name, subject=subject, index=index, nested_job_id=job_id)

    def _deadline(self, record: TaskRecord) -> datetime | None:
        """Return the parent's deadline, or the end of the step's own time where that is sooner."""
        own = None if self._step.timeout_ms is None else record.at_ms + self._step.timeout_ms
        ends = [end for end in (own, self._turn.header.spec.deadline_ms) if end is not None]
        return datetime.fromtimestamp(min(ends) / 1_000, tz=UTC) if ends else None


def cancel_nested(turn: Turn) -> None:
    """Ask for the end of every nested job that is out: what its parent ended for, it ends for too."""
    graph = turn.graph_or_none
    for step in graph.steps if graph is not None and graph.nests else ():
        left = turn.step_state(step.name).live if step.nested is not None else 0
        for index in range(turn.step_state(step.name).next if left else 0):
            record = turn.task(step.name, index)
            if record is None or record.status is not TaskStatus.LIVE:
                continue
            job_id = nested_job_id(f"{turn.job_id}/{step.name}/{index}", record.attempt)
            turn.effect(SubmitNested(job_id, Submission(type="cancel", job_id=job_id)))
            if (left := left - 1) == 0:
                break

"""One decision in the making: what the job's records are, and what this event changes about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.orchestrator.core.effects import Effect, EmitEvent, SetAside, StoreObject
from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.payloads import PayloadLost
from headrace.orchestrator.core.state import (
    Decision,
    JobHeader,
    Marker,
    StateRecord,
    StepState,
    TaskRecord,
    WorkflowRecord,
    job_key,
    marker_key,
    task_key,
    workflow_key,
)
from headrace.orchestrator.core.view import Environment, JobView
from headrace.orchestrator.core.work import EVENT_WORK, Work
from headrace.schemas.base import trusted
from headrace.schemas.errors import ContractError, HeadraceError, IllegalTransition
from headrace.schemas.messages import Event, ObjectRef
from headrace.schemas.object_keys import claim_check


class Turn:
    """Reads through to the view, collects changes and effects, and ends as a `Decision`.

    Args:
        view: the job; never written to.
        now_ms: the time of the decision.
    """

    def __init__(self, view: JobView, now_ms: int) -> None:
        self.view = view
        self.now_ms = now_ms
        self.changes: dict[str, StateRecord | None] = {}
        self.effects: list[Effect] = []
        self.work = Work(EVENT_WORK)
        """What this event may evaluate beside the prompts of tasks."""
        self.walks: dict[str, tuple[Any, Any]] = {}
        """Where scripted steps stand, each with the records that it was found from; see `values.walked`."""
        self._stored: dict[str, bytes] = {}
        self._job_key = job_key(view.job_id)
        self._header: JobHeader | None = None
        """The header as it was read or set last: a decision looks at it half a dozen times."""
        self._graph: Graph | None = None

    @property
    def job_id(self) -> str:
        return self.view.job_id

    @property
    def environment(self) -> Environment:
        return self.view.environment

    def record(self, key: str) -> StateRecord | None:
        """Return a record as this turn leaves it."""
        return self.changes[key] if key in self.changes else self.view.records(key)

    def put(self, key: str, record: StateRecord | None) -> None:
        """Change a record; None deletes it."""
        self.changes[key] = record
        if key == self._job_key:
            self._header = record if isinstance(record, JobHeader) else None

    def effect(self, effect: Effect) -> None:
        """Add an effect."""
        self.effects.append(effect)

    def store(self, data: bytes) -> ObjectRef:
        """Have content written to the object store and return its claim check."""
        ref = claim_check(data)
        self.effect(StoreObject(ref, data))
        self._stored[ref.key] = data
        return ref

    def load(self, ref: ObjectRef) -> bytes:
        """Return the content of a claim check, also of one that this turn has only decided to store.

        Raises:
            PayloadLost: the object is gone, or is not what the reference says.
            DependencyUnavailable: the store does not answer, or not yet: decide the event again later.
        """
        if ref.key in self._stored:
            return self._stored[ref.key]
        try:
            return self.environment.load(ref)
        except ContractError as error:
            raise PayloadLost(error.message, error.hint) from None

    def expect(self, refs: Iterable[ObjectRef]) -> None:
        """Have content read that will be loaded soon, side by side."""
        self.environment.expect(tuple(ref for ref in refs if ref.key not in self._stored))

    def set_aside(self, reason: str, message: str) -> None:
        """Send the record that caused this event to the dead letters."""
        self.effect(SetAside(reason, message))

    def announce(self, kind: str, *, step: str | None = None, subject: str = "", **data: Any) -> None:
        """Write an event. Its id is made of the job, the kind and the subject, so a replay gives the same."""
        event = trusted(Event, job_id=self.job_id, type=kind, at_ms=self.now_ms, step=step, data=data)
        self.effect(EmitEvent(event, "/".join(part for part in (self.job_id, kind, step, subject) if part)))

    def header_or_none(self) -> JobHeader | None:
        """Return the job's header, or None where no such job runs."""
        if self._header is None:
            record = self.record(self._job_key)
            self._header = record if isinstance(record, JobHeader) else None
        return self._header

    @property
    def header(self) -> JobHeader:
        """The header of a job that is known to run."""
        header = self.header_or_none()
        if header is None:
            raise IllegalTransition(f"job {self.job_id} does not run")
        return header

    @header.setter
    def header(self, header: JobHeader) -> None:
        self.changes[self._job_key] = self._header = header

    def marker(self) -> Marker | None:
        """Return how the job ended, or None."""
        record = self.record(marker_key(self.job_id))
        return record if isinstance(record, Marker) else None

    @property
    def graph(self) -> Graph:
        """The job's graph, compiled from the text that was written down when the job was accepted."""
        if self._graph is not None:
            return self._graph
        text = self.record(workflow_key(self.header.spec.workflow_sha256))
        if not isinstance(text, WorkflowRecord):
            raise IllegalTransition(
                f"job {self.job_id}: its workflow {self.header.spec.workflow_sha256} is not in the state"
            )
        self._graph = self.environment.compile(text.text)
        return self._graph

    @property
    def graph_or_none(self) -> Graph | None:
        """The job's graph, or None where its workflow is gone or holds no more (its pool was taken out of the file)."""
        try:
            return self.graph
        except HeadraceError:
            return None

    def task(self, step: str, index: int) -> TaskRecord | None:
        """Return a task's record, or None before its dispatch."""
        record = self.record(task_key(self.job_id, step, index))
        return record if isinstance(record, TaskRecord) else None

    def put_task(self, step: str, index: int, record: TaskRecord) -> None:
        """Change a task's record."""
        self.put(task_key(self.job_id, step, index), record)

    def step_state(self, step: str) -> StepState:
        """Return a step's counters."""
        return self.header.step(step)

    def set_step(self, step: str, state: StepState) -> None:
        """Change a step's counters."""
        self.header = self.header.with_step(step, state)

    def decision(self) -> Decision:
        """Return what was decided."""
        return Decision(self.changes, self.effects)

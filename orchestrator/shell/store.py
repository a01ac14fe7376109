"""One partition's state in memory: what is committed, and over it what this batch has decided so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from headrace.orchestrator.core.flights import Flights
from headrace.orchestrator.core.kept_signal import KeptSignal
from headrace.orchestrator.core.session_record import Session
from headrace.orchestrator.core.state import (
    OWNER_KEY,
    Cursor,
    InputPart,
    JobHeader,
    Marker,
    Owner,
    Phase,
    StateRecord,
    TaskRecord,
    TaskStatus,
    cursor_key,
    job_key,
    marker_key,
    workflow_key,
)
from headrace.orchestrator.core.view import Environment, JobMemo, JobView
from headrace.orchestrator.shell.finished import FinishedTasks
from headrace.orchestrator.shell.timers import Timers
from headrace.orchestrator.shell.workflow_refs import WorkflowRefs
from headrace.schemas.ids import SESSION_MARK

_PARTS = (TaskRecord, InputPart, KeptSignal)
"""Records that are of no use without their job."""
_OPEN = frozenset((TaskStatus.LIVE, TaskStatus.RETRYING))


@dataclass(slots=True)
class Counters:
    """What lies on the partition, for metrics and limits."""

    jobs: int = 0
    """Jobs that run."""
    interactive: int = 0
    """Of these, in the interactive lane."""
    tasks: int = 0
    """Tasks that are out or wait for a retry."""
    markers: int = 0
    """Finished jobs that are remembered."""

    def count(self, record: StateRecord | None, sign: int) -> None:
        """Add or take away a committed record; tasks are counted where they are applied."""
        if isinstance(record, JobHeader):
            running = sign if record.phase is Phase.RUNNING else 0
            self.jobs += running
            self.interactive += running if record.spec.lane == "interactive" else 0
        elif isinstance(record, Marker):
            self.markers += sign


class PartitionStore:
    """The records of one partition of ``state``.

    Reads see the batch's own changes; `commit` makes them the base, `rollback` forgets them.

    Args:
        partition: the home partition.
        environment: what views of its jobs are given.
    """

    def __init__(self, partition: int, environment: Environment) -> None:
        self.partition = partition
        self.offset = 0
        """Records of ``state`` below this offset are in memory."""
        self.counters = Counters()
        self._environment = environment
        self._base: dict[str, StateRecord] = {}
        self._finished = FinishedTasks()
        """Tasks that are done; none of them is in the base too."""
        self._overlay: dict[str, StateRecord | None] = {}
        self._touched: dict[str, None] = {}
        self._views: dict[str, JobView] = {}
        self._closing: dict[str, None] = {}
        self._looked_at: dict[str, None] = {}
        self.timers = Timers(self._base.get)
        self.workflows = WorkflowRefs()
        self.flights = Flights(environment.limits.lost_grace_ms)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, key: str) -> StateRecord | None:
        """Return the record that holds under a key, this batch's changes included."""
        if key in self._overlay:
            return self._overlay[key]
        record = self._base.get(key)
        return self._finished.get(key) if record is None else record

    def view(self, job_id: str) -> JobView:
        """Return a job as decisions see it; its memo lives as long as the job stays in memory."""
        view = self._views.get(job_id)
        self._looked_at[job_id] = None
        if view is None:
            view = JobView(job_id, self.partition, self.get, JobMemo(), self._environment)
            self._views[job_id] = view
        return view

    def drop_view(self, job_id: str) -> None:
        """Forget what was derived from a job's records: a decision about it failed half-way."""
        self._views.pop(job_id, None)

    def knows(self, job_id: str) -> bool:
        """Return whether the job runs here, or ended here and is remembered."""
        return self.get(job_key(job_id)) is not None or self.get(marker_key(job_id)) is not None

    def is_out(self, key: str, attempt: int) -> bool:
        """Return whether a task waits for the result of this attempt, by what is committed."""
        record = self._base.get(key)
        return isinstance(record, TaskRecord) and record.status is TaskStatus.LIVE and record.attempt == attempt

    def task_keys(self) -> list[str]:
        """Return the keys of the tasks that are out, wait, or have more to tell than their output."""
        return [key for key in self._base if key.startswith("task/")]

    def next_due_ms(self) -> int | None:
        """Return when the next timer fires, or the next suspect's time is over."""
        due, lost = self.timers.next_due_ms(), self.flights.next_due_ms()
        return min(due, lost) if due is not None and lost is not None else due if lost is None else lost

    def running(self) -> list[str]:
        """Return the jobs that run, by their committed headers."""
        return [r.spec.job_id for r in self._base.values() if isinstance(r, JobHeader) and r.phase is Phase.RUNNING]

    def closing(self, at_most: int) -> list[str]:
        """Return finished jobs whose records are still to be tombstoned, the longest waiting first."""
        return [job_id for job_id, _ in zip(self._closing, range(at_most), strict=False)]

    def leave_unclosed(self, job_id: str) -> None:
        """Close a finished job no further while this process has the partition; the next owner tries again."""
        self._closing.pop(job_id, None)

    def cursor(self, topic: str) -> int | None:
        """Return the next offset of a topic (``jobs`` or ``results``) by the changelog (kafka-mechanics B4)."""
        record = self.get(cursor_key(topic))
        return record.offset if isinstance(record, Cursor) else None

    def owner(self) -> str | None:
        """Return the transactional id that wrote here last (kafka-mechanics A3)."""
        record = self.get(OWNER_KEY)
        return record.transactional_id if isinstance(record, Owner) else None

    def survey(self) -> tuple[list[str], list[str]]:
        """Return the jobs that run without their workflow's text, and the keys of records whose job is not there."""
        abandoned = [
            record.spec.job_id
            for record in self._base.values()
            if isinstance(record, JobHeader)
            and record.phase is Phase.RUNNING
            and workflow_key(record.spec.workflow_sha256) not in self._base
        ]
        orphans = [
            key
            for key, record in self._base.items()
            if isinstance(record, _PARTS) and job_key(key.split("/", 2)[1]) not in self._base
        ]
        for job_id in dict.fromkeys(self._finished.jobs()):
            if job_key(job_id) not in self._base:
                orphans += self._finished.keys_of(job_id)
        return abandoned, orphans

    @property
    def changes(self) -> Mapping[str, StateRecord | None]:
        """What this batch changed so far, the last version of each key."""
        return self._overlay

    @property
    def touched(self) -> Iterable[str]:
        """The jobs that this batch changed."""
        return self._touched

    def __len__(self) -> int:
        return len(self._base) + len(self._finished)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, changes: Mapping[str, StateRecord | None], job_id: str | None = None) -> None:
        """Lay changes over the base."""
        self._overlay.update(changes)
        if job_id is not None and changes:
            self._touched[job_id] = None
            if SESSION_MARK in job_id:
                self._touch_next(changes)

    def _touch_next(self, changes: Mapping[str, StateRecord | None]) -> None:
        """Note the job that has its session's turn now: nothing of its own says so."""
        for record in changes.values():
            if isinstance(record, Session):
                self._touched[record.jobs[0]] = None

    def commit(self) -> None:
        """Make this batch's changes the base."""
        for key, record in self._overlay.items():
            self._apply(key, record)
        self._forget_batch()
        self.timers.settle()
        self.flights.settle()

    def rollback(self) -> None:
        """Forget this batch's changes, and what was derived from them."""
        for job_id in self._touched:
            self._views.pop(job_id, None)
        self._forget_batch()
        self.timers.restore()
        self.flights.restore()

    def load(self, records: Iterable[tuple[str, StateRecord | None]], offset: int) -> None:
        """Apply records of the changelog, and note up to where it is read. Views may be stale after that: dropped."""
        for key, record in records:
            self._apply(key, record)
        self.offset = max(self.offset, offset)
        self._views.clear()
        self.flights.clear()

    def _apply(self, key: str, record: StateRecord | None) -> None:
        if key.startswith("task/"):
            self._apply_task(key, record)
            return
        before = self._base.get(key)
        self.counters.count(before, -1)
        self.counters.count(record, 1)
        if record is None:
            self._base.pop(key, None)
        else:
            self._base[key] = record
        self.timers.note(key, before, record)
        self.workflows.note(key, before, record)
        closing = isinstance(record, JobHeader) and record.phase is Phase.CLOSING
        if closing or key.startswith("job/"):
            self._note_closing(key.removeprefix("job/"), closing)

    def _apply_task(self, key: str, record: StateRecord | None) -> None:
        """Apply the record of a task: one that is done goes where it needs little memory.

        Thrice a task, so calls are spared here.
        """
        base, before = self._base, None
        if not isinstance(record, TaskRecord):
            if (before := base.pop(key, None)) is None:
                self._finished.drop(key)
        elif record.status is TaskStatus.DONE and self._finished.keep(key, record):
            before = base.pop(key, None)
        else:
            if (before := base.get(key)) is None:
                self._finished.drop(key)
            base[key] = record
            if record.status in _OPEN:
                self.counters.tasks += 1
            if record.due_ms is not None:
                self.timers.note(key, before, record)
        if isinstance(before, TaskRecord) and before.status in _OPEN:
            self.counters.tasks -= 1

    def _note_closing(self, job_id: str, closing: bool) -> None:
        """Keep the order of closing jobs; one that was just worked on goes to the end."""
        self._closing.pop(job_id, None)
        if closing:
            self._closing[job_id] = None

    def _forget_batch(self) -> None:
        for job_id in self._looked_at:
            if job_key(job_id) not in self._base:
                self._views.pop(job_id, None)
        self._looked_at.clear()
        self._overlay.clear()
        self._touched.clear()

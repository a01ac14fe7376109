"""The records of ``state``: many small ones, each under its own key, so that an event costs the same in any job.

==========================  =============================================================================
key                         record
==========================  =============================================================================
``job/<job>``               `JobHeader`: counters, cursor, deadline
``input/<job>/<n>``         `InputPart`: at most 256 KB of the input's JSON, written once
``items/<job>/<n>``         `InputPart`: the same of the reference to its items, where they come by reference
``task/<job>/<step>/<i>``   `TaskRecord`: a live task, then the finished item, until the job is closed
``signal/<job>/<step>``     `KeptSignal`: what a step waits for, or came before it does
``session/<session>``       `Session`: its jobs that have steps in turn, while one of them runs
``routed/<s>/<w>/<step>``    `KeptRoute`: the branch that a session keeps for a step of a workflow
``marker/<job>``            `Marker`: how the job ended, until its id may be used again
``workflow/<sha256>``       `WorkflowRecord`: the canonical text that jobs run from
``owner``                   `Owner`: the transactional id that wrote here last (shell)
``cursor/<topic>``          `Cursor`: the next offset of this partition of that topic (shell)
==========================  =============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, fields
from enum import StrEnum
from typing import Any

from headrace.orchestrator.core.job_ending import Ending
from headrace.orchestrator.core.kept_route import KeptRoute
from headrace.orchestrator.core.kept_signal import KeptSignal
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.parent import Parent
from headrace.orchestrator.core.repair import Repair
from headrace.orchestrator.core.session_record import Session
from headrace.orchestrator.core.task_edit import TaskEdit
from headrace.orchestrator.core.told import Told
from headrace.schemas.messages import AttemptNote, Failure, ObjectRef
from headrace.schemas.values import value_object

INPUT_PART_BYTES = 262_144


class Phase(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    CLOSING = "closing"
    """The outcome is out; records are being tombstoned."""


class StepStatus(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class TaskStatus(StrEnum):
    """Where a task stands."""

    LIVE = "live"
    """On the task topic or with a worker."""
    RETRYING = "retrying"
    """Waits for ``due_ms``."""
    DONE = "done"
    FAILED = "failed"


@value_object(frozen=True, slots=True)
class StepState:
    """Counters of one step; what is in flight is ``live + retrying``."""

    status: StepStatus = StepStatus.WAITING
    total: int = 0
    """Tasks of the step, known once it runs."""
    next: int = 0
    """The next index to dispatch."""
    live: int = 0
    retrying: int = 0
    done: int = 0
    failed: int = 0
    truncated: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    skipped: bool = False
    """Its condition did not hold."""
    repaired: int = 0
    """Attempts that went out with a wrong answer shown."""
    remembered: str | None = None
    """The branch that its session kept when it began, whatever becomes of that since: a route is walked again."""

    @property
    def ended(self) -> int:
        """Tasks that are over."""
        return self.done + self.failed

    def moved(  # Once or twice a task: a call of the constructor takes a third of what `replace` does.
        self, *, next: int = 0, live: int = 0, retrying: int = 0, done: int = 0, failed: int = 0, truncated: int = 0
    ) -> StepState:
        """Return the counters with these added."""
        return StepState(
            self.status,
            self.total,
            self.next + next,
            self.live + live,
            self.retrying + retrying,
            self.done + done,
            self.failed + failed,
            self.truncated + truncated,
            self.started_ms,
            self.finished_ms,
            self.skipped,
            self.repaired,
            self.remembered,
        )


@value_object(frozen=True, slots=True)
class PoolSpent:
    """What a job used of one pool."""

    tasks: int = 0
    attempts: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_microusd: int = 0
    call_ms: int = 0
    models: tuple[str, ...] = ()
    unconfirmed_attempts: int = 0
    """Attempts of which nobody knows whether the provider did and billed them."""
    unconfirmed_tokens: int = 0
    unconfirmed_microusd: int = 0
    """What they took and cost at most; a budget counts it as spent."""
    overrun_tokens: int = 0
    overrun_microusd: int = 0
    """What attempts took above what was set aside for them."""
    duplicated: int = 0
    """Attempts made because an earlier one was interrupted or lost."""


@value_object(frozen=True, slots=True)
class JobSpec:
    """What was said and decided when a job was accepted; nothing of it changes."""

    job_id: str
    workflow: str
    """``name@version``."""
    workflow_sha256: str
    content_hash: str
    tenant: str
    lane: str
    priority: int
    sensitivity: str
    submitted_at_ms: int
    accepted_at_ms: int
    tokens_rule: str
    """How the split counts tokens, so that a replay splits alike."""
    deadline_ms: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    input_parts: int = 0
    input_ref: ObjectRef | None = None
    items_total: int = 0
    """Items by reference; 0 where there are none."""
    items_parts: int = 0
    """Records that the reference to them takes: it may name 2,000 parts, and the header is written with every event."""
    trace: tuple[tuple[str, str], ...] = ()
    budget_microusd: int | None = None
    budget_tokens: int | None = None
    parent: Parent | None = None
    """Of a nested job: the task that it is the work of."""


@value_object(frozen=True, slots=True)
class JobHeader:
    """Everything about a job but its input and its tasks.

    It is made anew with every event of the job, so what never changes stands apart: copying a dozen fields costs a
    quarter of copying three dozen.
    """

    spec: JobSpec
    phase: Phase = Phase.RUNNING
    steps: tuple[tuple[str, StepState], ...] = ()
    """In the graph's order."""
    spent: tuple[tuple[str, PoolSpent], ...] = ()
    """By pool, in order of first use."""
    reserved_microusd: int = 0
    """Upper bounds of the attempts that are out."""
    reserved_tokens: int = 0
    blocked: bool = False
    """The next task does not fit the budget until something in flight is settled."""
    close_step: int = 0
    """Cursor of the closing: the step…"""
    close_index: int = 0
    """…and the task within it."""
    ending: Ending | None = None
    """How it ends once its sagas are undone."""

    @property
    def due_ms(self) -> int | None:
        """When the deadline passes; a closing job has none."""
        return self.spec.deadline_ms if self.phase is Phase.RUNNING and self.ending is None else None

    def step(self, name: str) -> StepState:
        """Return a step's counters."""
        for step_name, state in self.steps:
            if step_name == name:
                return state
        raise KeyError(name)

    def with_step(self, name: str, state: StepState) -> JobHeader:
        """Return the header with other counters of a step."""
        return self._with([(old, state if old == name else was) for old, was in self.steps], self.spent)

    def with_spent(self, pool: str, spent: PoolSpent) -> JobHeader:
        """Return the header with what the job used of a pool."""
        used = dict(self.spent)
        used[pool] = spent
        return self._with(self.steps, used.items())

    def _with(self, steps: Iterable[tuple[str, StepState]], spent: Iterable[tuple[str, PoolSpent]]) -> JobHeader:
        return JobHeader(
            self.spec,
            self.phase,
            tuple(steps),
            tuple(spent),
            self.reserved_microusd,
            self.reserved_tokens,
            self.blocked,
            self.close_step,
            self.close_index,
            self.ending,
        )

    def spent_in(self, pool: str) -> PoolSpent:
        """Return what the job used of a pool."""
        for name, spent in self.spent:
            if name == pool:
                return spent
        return PoolSpent()


@value_object(frozen=True, slots=True)
class InputPart:
    """A part of the input's JSON text."""

    text: str


@value_object(frozen=True, slots=True)
class TaskRecord:
    """A task from its dispatch to the closing of its job."""

    status: TaskStatus
    attempt: int
    at_ms: int
    """When it was dispatched, set aside, or ended."""
    due_ms: int | None = None
    """When a waiting retry goes out."""
    output: Any = None
    output_ref: ObjectRef | None = None
    truncated: bool = False
    failure: Failure | None = None
    reserved: tuple[int, int] | None = None
    """Upper bound of the attempt that is out, where one is known: tokens, micro-US-dollars."""
    free: int = 0
    """Attempts that do not count against the policy: interrupted, lost, never started, or before a redrive."""
    kills: int = 0
    """How often a worker died during it."""
    stops: int = 0
    """How often it was interrupted or lost otherwise."""
    cause: str = ""
    """Why the last attempt was interrupted, while the next one waits."""
    owed: tuple[Owed, ...] = ()
    """Earlier attempts whose result may still come."""
    history: tuple[AttemptNote, ...] = ()
    """The last failures, for the dead letter."""
    edit: TaskEdit | None = None
    """What a redrive put in place of the task's own."""
    redrives: int = 0
    """How often an operator sent it back: the guard against a loop."""
    told: Told | None = None
    """Of a scripted step's task: what the script goes by."""
    repair: Repair | None = None
    """A wrong answer that the next attempt shows, or that one has shown."""

    @property
    def counted(self) -> int:
        """Attempts that count against the retry policy."""
        return self.attempt - self.free

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in (TaskStatus.DONE, TaskStatus.FAILED)


def fields_besides(*named: str) -> tuple[str, ...]:
    """Return the fields of a task's record but those named: what a short form of it must not leave out unseen."""
    return tuple(each.name for each in fields(TaskRecord) if each.name not in named)


@value_object(frozen=True, slots=True)
class Marker:
    """How a job ended. A submission of the same id is answered from it."""

    content_hash: str
    """Empty where the job's header was lost: any content counts as the same."""
    status: str
    outcome: str
    """The outcome's JSON, byte for byte; empty where it was lost (it stands on ``outcomes``)."""
    at_ms: int
    due_ms: int | None
    """When the id may be used again."""
    cancelled: bool = False
    """Whether a standing order on ``control`` must be lifted with the marker."""


@value_object(frozen=True, slots=True)
class WorkflowRecord:
    """A workflow's canonical text."""

    text: str


@value_object(frozen=True, slots=True)
class Owner:
    """Whose transactions wrote to this partition last (kafka-mechanics A3)."""

    transactional_id: str


@value_object(frozen=True, slots=True)
class Cursor:
    """The next offset of this partition of a topic, in case group offsets expire (kafka-mechanics B4)."""

    offset: int


StateRecord = (
    JobHeader | InputPart | TaskRecord | KeptSignal | Session | KeptRoute | Marker | WorkflowRecord | Owner | Cursor
)


def job_key(job_id: str) -> str:
    """Return the key of a job's header."""
    return f"job/{job_id}"


def input_key(job_id: str, part: int) -> str:
    """Return the key of a part of a job's input."""
    return f"input/{job_id}/{part}"


def items_key(job_id: str, part: int) -> str:
    """Return the key of a part of the reference to a job's items."""
    return f"items/{job_id}/{part}"


def task_key(job_id: str, step: str, index: int) -> str:
    """Return the key of a task's record."""
    return f"task/{job_id}/{step}/{index}"


def marker_key(job_id: str) -> str:
    """Return the key of a job's marker."""
    return f"marker/{job_id}"


def workflow_key(sha256: str) -> str:
    """Return the key of a workflow's text."""
    return f"workflow/{sha256}"


def cursor_key(topic: str) -> str:
    """Return the key of a topic's cursor."""
    return f"cursor/{topic}"


OWNER_KEY = "owner"


@value_object(frozen=True, slots=True)
class Decision:
    """What `machine.step` decided.

    Args:
        changes: by key; None deletes the record. Applied to memory only after the commit.
        effects: in the order in which they were decided.
    """

    changes: dict[str, StateRecord | None] = field(default_factory=dict)
    effects: list[Any] = field(default_factory=list)

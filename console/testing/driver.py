"""Plays one job, and those that it nests, through the pure core: in virtual time, without Kafka and waiting. Pure.

The real `machine.step` and the real dispatch window decide; what is outside of them is here: records in a dict, a
queue of what happens when, and the order of what happens at the same time, drawn from the seed. The driver knows no
kind of step: it sees tasks go out, asks for their results, and fires the timers that records carry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, NamedTuple

from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.effects import (
    AnswerParent,
    DispatchTask,
    Effect,
    EmitEvent,
    EmitOutcome,
    StoreObject,
    SubmitNested,
)
from headrace.orchestrator.core.events import (
    CancelRequested,
    DispatchGranted,
    Event,
    JobSubmitted,
    Signalled,
    TaskFailed,
    TaskSucceeded,
    TimerFired,
)
from headrace.orchestrator.core.machine import standing, step
from headrace.orchestrator.core.state import StateRecord
from headrace.orchestrator.core.view import Environment, JobMemo, JobView
from headrace.orchestrator.core.window import DispatchWindow
from headrace.schemas.errors import ContractError
from headrace.schemas.ids import SESSION_MARK
from headrace.schemas.messages import Event as Announced
from headrace.schemas.messages import ObjectRef, Outcome, Result, Submission, Task

START_MS = 1_767_225_600_000
"""When virtual time begins: 2026-01-01, midnight UTC. Always the same, so that events are."""
JOB_ID = "test"
TURN_ID = f"session{SESSION_MARK}{JOB_ID}"
"""The job where its workflow has steps in turn."""
MAX_HAPPENINGS = 1_000_000
WINDOW = 4_096
"""Most tasks of a pool and lane that are out; the orchestrator's own default."""
DEAL_AT_MOST = 10_000


class Draws:
    """Numbers drawn from a seed, each by a name of its own: what else is drawn, and when, changes none of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def draw(self, name: str) -> float:
        """Return a number in [0, 1)."""
        digest = sha256(f"{self._seed}/{name}".encode()).digest()
        return int.from_bytes(digest[:6]) / (1 << 48)


class Answered(NamedTuple):
    """What a call comes to."""

    result: Result
    takes_ms: int


Answer = Callable[[Task], Answered]


@dataclass(slots=True)
class Played:
    """What became of a job."""

    outcome: Outcome | None = None
    """None where the job stands still."""
    events: list[Announced] = field(default_factory=list)
    """In the order in which they were announced."""
    calls: list[Task] = field(default_factory=list)
    """Every attempt that went out, in its order."""
    ended_ms: int = START_MS
    stuck: str = ""
    """Why there is no outcome."""


class Objects:
    """The object store, in memory."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def put(self, ref: ObjectRef, data: bytes) -> None:
        """Keep content."""
        self._data[ref.key] = data

    def load(self, ref: ObjectRef) -> bytes:
        """Return content.

        Raises:
            ContractError: it is not there.
        """
        if ref.key not in self._data:
            raise ContractError(f"object {ref.key} is not in the store of this test", kind="gone")
        return self._data[ref.key]


class Driver:
    """Plays one job.

    Args:
        environment: its `load` is that of `objects`.
        objects: takes what decisions store.
        answer: what becomes of a call; asked once for each attempt, when it goes out.
        draws: what is random.
    """

    def __init__(self, environment: Environment, objects: Objects, answer: Answer, draws: Draws) -> None:
        self._objects = objects
        self._answer = answer
        self._draws = draws
        self._records: dict[str, StateRecord] = {}
        self._environment = environment
        self._views: dict[str, JobView] = {}
        self._window = DispatchWindow(WINDOW)
        self._now_ms = START_MS
        self._queue: list[tuple[int, float, int, str, Event]] = []
        self._pushed = 0
        self._played = Played()
        self._top = JOB_ID

    def play(
        self,
        submission: Submission,
        *,
        cancel_after_ms: int | None = None,
        signals: Iterable[tuple[int, Signalled]] = (),
    ) -> Played:
        """Submit the job and go on until its outcome, or until nothing can happen any more.

        Args:
            submission: the job's, with its id.
            cancel_after_ms: when it is cancelled.
            signals: what it is told, and when.
        """
        played, top = self._played, submission.job_id or JOB_ID
        self._top = top
        if cancel_after_ms is not None:
            self._push(START_MS + cancel_after_ms, "cancel", top, CancelRequested(START_MS + cancel_after_ms))
        for number, (after_ms, signal) in enumerate(signals):
            self._push(START_MS + after_ms, f"signal/{number}", top, signal)
        self._take(top, JobSubmitted(submission, submission_hash(submission), START_MS))
        for _ in range(MAX_HAPPENINGS):
            self._deal()
            if played.outcome is not None:
                return played
            if not self._queue:
                played.stuck = "nothing is out, nothing waits, and the job has not ended"
                return played
            at_ms, _, _, job_id, event = heappop(self._queue)
            if not isinstance(event, TimerFired) or self._is_due(event.key, at_ms):
                self._now_ms = max(self._now_ms, at_ms)
                self._take(job_id, event)
        played.stuck = f"the job has not ended after {MAX_HAPPENINGS:,} events"
        return played

    def output(self) -> Any:
        """Return the output, also where it lies in the object store."""
        outcome = self._played.outcome
        if outcome is None or outcome.output_ref is None:
            return None if outcome is None else outcome.output
        return json.loads(self._objects.load(outcome.output_ref))

    def _is_due(self, key: str, at_ms: int) -> bool:
        """Whether a timer is still that of its record: a retry that went out has none."""
        return getattr(self._records.get(key), "due_ms", None) == at_ms

    def _deal(self) -> None:
        while self._played.outcome is None and (grants := self._window.deal(DEAL_AT_MOST)):
            for grant in grants:
                if self._played.outcome is None:  # A grant before this one may have ended the job.
                    self._take(grant.job_id, DispatchGranted(grant.step, grant.count))

    def _take(self, job_id: str, event: Event) -> None:
        """Let the core decide, and do what it decided."""
        view = self._views.get(job_id)
        if view is None:
            view = self._views[job_id] = JobView(job_id, 0, self._records.get, JobMemo(), self._environment)
        decision = step(view, event, self._now_ms)
        for key, record in decision.changes.items():
            if record is None:
                self._records.pop(key, None)
                continue
            self._records[key] = record
            due_ms = getattr(record, "due_ms", None)
            if due_ms is not None and not key.startswith("marker/"):
                self._push(due_ms, key, job_id, TimerFired(key))
        for effect in decision.effects:
            self._do(job_id, effect)
        self._window.update(job_id, standing(view))

    def _do(self, job_id: str, effect: Effect) -> None:
        match effect:
            case DispatchTask(task=task):
                self._send(task)
            case EmitEvent(event=event):
                self._played.events.append(event)
            case EmitOutcome(value=value) if job_id == self._top:
                self._played.outcome = Outcome.model_validate_json(value)
                self._played.ended_ms = self._now_ms
            case StoreObject(ref=ref, data=data):
                self._objects.put(ref, data)
            case SubmitNested(job_id=below, submission=submission):
                self._submit(below, submission)
            case AnswerParent(parent_id=above, result=result):
                self._answered(above, result, 0)
            case _:
                pass  # Dead letters and orders to workers say nothing that the outcome and the events do not.

    def _submit(self, job_id: str, submission: Submission) -> None:
        event: Event = CancelRequested(self._now_ms)
        if submission.type == "job":
            event = JobSubmitted(submission, submission_hash(submission), self._now_ms)
        # One name for both: of a job and its cancel at one time, the first written comes first, as on a partition.
        self._push(self._now_ms, f"nested/{job_id}", job_id, event)

    def _send(self, task: Task) -> None:
        self._played.calls.append(task)
        answered = self._answer(task)
        self._answered(task.job_id, answered.result, answered.takes_ms)

    def _answered(self, job_id: str, result: Result, takes_ms: int) -> None:
        name = f"{result.task_id}/{result.attempt}"
        jitter = self._draws.draw(f"jitter/{name}")
        event: Event = TaskFailed(result, jitter) if result.failure else TaskSucceeded(result)
        self._push(self._now_ms + takes_ms, name, job_id, event)

    def _push(self, at_ms: int, name: str, job_id: str, event: Event) -> None:
        self._pushed += 1
        heappush(self._queue, (at_ms, self._draws.draw(f"order/{name}"), self._pushed, job_id, event))

"""Laws of `machine.step`, checked after every event of a random life of two jobs.

The judge keeps no books of its own about the machine: it compares the header's counters with the records, and the money
in the header with the records that hold it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.orchestrator.core.effects import DispatchTask, EmitOutcome
from headrace.orchestrator.core.events import CancelRequested, ClosingResumed, TaskLost, TaskRedriven, TimerFired
from headrace.orchestrator.core.retry import DEFAULTS
from headrace.orchestrator.core.state import (
    Decision,
    JobHeader,
    Marker,
    Phase,
    TaskRecord,
    TaskStatus,
    job_key,
    marker_key,
    task_key,
)
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, Outcome, Result, Task, Usage
from tests.world import World, echo

JOBS = ("a", "b")
LIMITS = Limits(max_in_flight=3, max_kills=2, max_stops=3, retention_ms=60_000)
MOST = max(policy.attempts for policy in DEFAULTS.values())
KINDS = (
    *(ErrorKind.RATE_LIMITED, ErrorKind.TIMEOUT, ErrorKind.NETWORK, ErrorKind.AUTH, ErrorKind.MALFORMED_OUTPUT),
    *(ErrorKind.INTERRUPTED, ErrorKind.DEADLINE_EXCEEDED, ErrorKind.CANCELLED),
)
ONE_RECORD_EVENTS = 14
"""Records that one event may touch beside those it dispatches: header, task, marker, and the start of further steps."""


def workflow(attempts: int | None, share: float) -> dict[str, Any]:
    first: dict[str, Any] = {
        "for_each": "{{ input.items }}",
        "llm": {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8},
        "require": {"share": share},
    }
    if attempts is not None:
        first["retry"] = {"attempts": attempts}
    last = {"reduce": "first", "fan_in": 3, "llm": {"pool": "large", "prompt": "{{ items }}", "max_output_tokens": 8}}
    return {"name": "w", "version": 1, "steps": {"first": first, "last": last}, "output": "{{ last }}"}


class Life(RuleBasedStateMachine):
    """Everything that can happen to jobs, in any order, as often as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(limits=LIMITS, pool_window=10)
        self.sent: list[Task] = []
        self.budgets: dict[str, int | None] = {}
        self.bytes: dict[str, set[bytes]] = {}
        self.redriven: dict[str, int] = {}
        self.over: dict[str, tuple[Any, ...]] = {}

    # ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, job: str, event: Any) -> Decision:
        """Let something happen, and deal what has room after it, as the shell does."""
        decision = self.step(job, event)
        self.deal()
        return decision

    def step(self, job: str, event: Any) -> Decision:
        before = len(self.world.effects)
        decision = self.world.take(job, event)
        dispatched = 0
        for effect in self.world.effects[before:]:
            if isinstance(effect, DispatchTask):
                self.sent.append(effect.task)
                dispatched += 1
            if isinstance(effect, EmitOutcome):
                self.bytes.setdefault(job, set()).add(effect.value)
        limit = event.limit if isinstance(event, ClosingResumed) else 0
        assert len(decision.changes) <= ONE_RECORD_EVENTS + dispatched + limit, event
        return decision

    @initialize(tokens=st.none() | st.integers(50, 900))
    def begin(self, tokens: int | None) -> None:
        for job in JOBS:
            self.submit(job, 25, tokens, None, 0.2)

    @rule(
        job=st.sampled_from(JOBS),
        items=st.integers(0, 25),
        tokens=st.none() | st.integers(50, 900),
        attempts=st.none() | st.integers(1, 3),
        share=st.sampled_from([0.2, 1.0]),
    )
    def submit(self, job: str, items: int, tokens: int | None, attempts: int | None, share: float) -> None:
        if marker_key(job) not in self.world.records and job_key(job) not in self.world.records:
            self.bytes.pop(job, None)
            self.over.pop(job, None)
            self.budgets[job] = tokens
            self.redriven.clear()
        fields = {"budget": {"tokens": tokens}} if tokens is not None else {}
        before = len(self.world.effects)
        self.world.submit(job, workflow(attempts, share), {"items": [f"i{n}" for n in range(items)]}, **fields)
        for effect in self.world.effects[before:]:
            if isinstance(effect, EmitOutcome) and effect.job_id == job:
                self.bytes.setdefault(job, set()).add(effect.value)
        self.deal()

    def deal(self) -> None:
        before = len(self.world.dispatched)
        self.world.deal()
        self.sent += self.world.dispatched[before:]

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), cost=st.integers(0, 20))
    def answer(self, data: st.DataObject, cost: int) -> None:
        """An answer to anything that was ever sent: in time, late, or for the second time."""
        task = data.draw(st.sampled_from(self.sent))
        bound = 64 + len(task.call.messages[-1].content) + 8 if task.call else 0
        usage = Usage(input_tokens=min(cost, bound), output_tokens=0)
        self.take(task.job_id, _event(echo(task).model_copy(update={"usage": usage, "cost_microusd": cost})))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), kind=st.sampled_from(KINDS), unknown=st.booleans(), cause=st.sampled_from(["kill", "stop"]))
    def fail(self, data: st.DataObject, kind: ErrorKind, unknown: bool, cause: str) -> None:
        task = data.draw(st.sampled_from(self.sent))
        failure = Failure(kind=kind, message="scripted")
        nothing = {"failure": failure, "output": None, "usage": Usage(), "cost_microusd": 0}
        result = echo(task).model_copy(update={**nothing, "unconfirmed": unknown, "cause": cause})
        self.take(task.job_id, _event(result))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), overdue=st.booleans())
    def lose(self, data: st.DataObject, overdue: bool) -> None:
        task = data.draw(st.sampled_from(self.sent))
        self.take(task.job_id, TaskLost(task.task_id, task.attempt, "scripted", 0.5, overdue))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), pool=st.sampled_from([None, "small", "large", "nowhere"]))
    def redrive(self, data: st.DataObject, pool: str | None) -> None:
        task = data.draw(st.sampled_from(self.sent))
        decision = self.take(task.job_id, TaskRedriven(task.task_id, pool))
        if decision.changes:
            self.redriven[task.task_id] = self.redriven.get(task.task_id, 0) + 1

    @rule(milliseconds=st.integers(0, 70_000))
    def pass_time(self, milliseconds: int) -> None:
        self.world.now_ms += milliseconds

    @precondition(lambda self: any(getattr(record, "due_ms", None) for record in self.world.records.values()))
    @rule(data=st.data(), wait=st.booleans())
    def fire(self, data: st.DataObject, wait: bool) -> None:
        keys = sorted(key for key, record in self.world.records.items() if getattr(record, "due_ms", None))
        key = data.draw(st.sampled_from(keys))
        if wait:
            self.world.now_ms = max(self.world.now_ms, getattr(self.world.records[key], "due_ms", 0))
        self.take(key.split("/")[1], TimerFired(key))

    @rule(job=st.sampled_from(JOBS))
    def cancel(self, job: str) -> None:
        self.take(job, CancelRequested(self.world.now_ms))

    @rule(job=st.sampled_from(JOBS), limit=st.integers(1, 5))
    def close(self, job: str, limit: int) -> None:
        self.take(job, ClosingResumed(limit))

    # ── What always holds ────────────────────────────────────────────────────────────────────────────────────────

    def headers(self) -> list[JobHeader]:
        return [record for record in self.world.records.values() if isinstance(record, JobHeader)]

    def tasks(self, job: str, step: str, state: Any) -> list[TaskRecord]:
        found = [self.world.records.get(task_key(job, step, index)) for index in range(state.next)]
        return [record for record in found if isinstance(record, TaskRecord)]

    @invariant()
    def the_counters_are_what_the_records_say(self) -> None:
        for header in self.headers():
            if header.phase is not Phase.RUNNING:
                continue
            for name, state in header.steps:
                records = self.tasks(header.spec.job_id, name, state)
                counted = {status: sum(r.status is status for r in records) for status in TaskStatus}
                assert counted[TaskStatus.LIVE] == state.live
                assert counted[TaskStatus.RETRYING] == state.retrying
                assert counted[TaskStatus.DONE] == state.done
                assert counted[TaskStatus.FAILED] == state.failed
                assert len(records) == state.next

    @invariant()
    def money_is_in_one_place_of_four(self) -> None:
        for header in self.headers():
            if header.phase is not Phase.RUNNING:
                continue
            records = [r for name, state in header.steps for r in self.tasks(header.spec.job_id, name, state)]
            reserved = [r.reserved for r in records if r.reserved is not None]
            assert all(r.status is TaskStatus.LIVE for r in records if r.reserved is not None)
            assert header.reserved_tokens == sum(tokens for tokens, _ in reserved)
            assert header.reserved_microusd == sum(microusd for _, microusd in reserved)
            unconfirmed = sum(spent.unconfirmed_tokens for _, spent in header.spent)
            assert unconfirmed >= sum(owed.tokens for r in records for owed in r.owed)
            for _, spent in header.spent:
                assert min(spent.unconfirmed_attempts, spent.unconfirmed_tokens, spent.unconfirmed_microusd) >= 0
                assert spent.attempts >= spent.unconfirmed_attempts
            if header.spec.budget_tokens is not None:
                assert header.spec.budget_tokens == self.budgets[header.spec.job_id]
                spent = sum(spent.input_tokens + spent.output_tokens for _, spent in header.spent)
                assert spent + unconfirmed + header.reserved_tokens <= header.spec.budget_tokens, "overspent"

    @invariant()
    def the_windows_hold(self) -> None:
        for header in self.headers():
            if header.phase is Phase.RUNNING:
                assert sum(state.live for _, state in header.steps) <= LIMITS.max_in_flight
                assert sum(state.retrying for _, state in header.steps) <= 2 * LIMITS.max_in_flight

    @invariant()
    def attempts_stay_within_the_policy_plus_what_was_interrupted(self) -> None:
        for header in self.headers():
            for name, state in header.steps:
                for index, record in enumerate(self.tasks(header.spec.job_id, name, state)):
                    again = self.redriven.get(f"{header.spec.job_id}/{name}/{index}", 0)
                    assert record.counted <= MOST
                    assert record.attempt <= (1 + again) * (MOST + LIMITS.max_kills + LIMITS.max_stops)
                    assert record.kills <= LIMITS.max_kills

    @invariant()
    def a_job_has_one_outcome_and_what_is_over_stays_over(self) -> None:
        for job, found in self.bytes.items():
            assert len(found) <= 1, f"{job} has {len(found)} outcomes"
            for value in found:
                outcome = Outcome.model_validate_json(value)
                first = self.over.setdefault(job, (outcome.status, outcome.finished_at_ms))
                assert (outcome.status, outcome.finished_at_ms) == first
        for key, record in self.world.records.items():
            if isinstance(record, Marker):
                running = self.world.records.get(job_key(key.removeprefix("marker/")))
                assert running is None or (isinstance(running, JobHeader) and running.phase is Phase.CLOSING)

    def teardown(self) -> None:
        """When the world calms down, every job ends, and nothing but markers and texts is left."""
        self.world.run()
        for job in JOBS:
            if job_key(job) in self.world.records:
                raise AssertionError(f"{job} does not end")
        assert {key.split("/")[0] for key in self.world.records} <= {"marker", "workflow"}


def _event(result: Result) -> Any:
    from headrace.orchestrator.core.events import TaskFailed, TaskSucceeded

    return TaskFailed(result, 0.5) if result.failure else TaskSucceeded(result)


TestLife = pytest.mark.slow(Life.TestCase)
TestLife.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

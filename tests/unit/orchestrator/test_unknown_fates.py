"""Attempts that were interrupted, lost, or answer late, their money, and tasks that are sent back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.orchestrator.core.effects import DispatchTask, Ignore, SetAside, SetTaskAside
from headrace.orchestrator.core.events import TaskLost, TaskRedriven, TimerFired
from headrace.orchestrator.core.state import TaskStatus, task_key
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus, Task
from tests.unit.orchestrator.troubles import failed, fan, fire_due, header, killed, one, record, take_task
from tests.world import World, echo

# ── Interruptions ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interrupted_attempt_does_not_count_against_the_policy_and_goes_out_again_at_once() -> None:
    world = World()
    world.submit("a", one(retry={"attempts": 1}), {"word": "x"})
    world.result(killed(take_task(world)))
    assert record(world).due_ms == world.now_ms
    fire_due(world)
    sent = [effect for effect in world.effects if isinstance(effect, DispatchTask)]
    assert (sent[-1].task.attempt, sent[-1].cause) == (2, "kill")
    world.result(echo(sent[-1].task))
    outcome = world.outcome("a")
    assert outcome.status is JobStatus.SUCCEEDED
    assert outcome.receipt.duplicated == 1


def test_a_task_that_keeps_killing_workers_is_quarantined_with_its_history() -> None:
    world = World(limits=Limits(max_kills=3))
    world.submit("a", one(), {"word": "x"})
    world.run(killed)
    assert len(world.dispatched) == 3
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INTERRUPTED)
    assert "quarantined" in outcome.message
    (letter,) = [effect for effect in world.effects if isinstance(effect, SetTaskAside)]
    assert (letter.reason, letter.task.task_id, letter.task.attempt) == ("quarantined", "a/answer/0", 3)
    assert [note.attempt for note in letter.history] == [1, 2, 3]


def test_workers_that_stop_may_interrupt_a_task_more_often_than_workers_that_die() -> None:
    world = World(limits=Limits(max_kills=3, max_stops=10))
    world.submit("a", one(), {"word": "x"})
    world.run(lambda task: failed(task, ErrorKind.INTERRUPTED, cause="stop") if task.attempt < 8 else echo(task))
    assert world.outcome("a").status is JobStatus.SUCCEEDED


def test_an_exhausted_task_is_set_aside_as_it_was_dispatched() -> None:
    world = World()
    world.submit("a", one(retry={"attempts": 2}), {"word": "x"})
    world.run(lambda task: failed(task, ErrorKind.SERVER_ERROR))
    (letter,) = [effect for effect in world.effects if isinstance(effect, SetTaskAside)]
    assert letter.reason == "exhausted"
    assert letter.task == world.dispatched[-1]
    assert [(note.attempt, note.kind) for note in letter.history] == [
        (1, ErrorKind.SERVER_ERROR),
        (2, ErrorKind.SERVER_ERROR),
    ]


def test_a_task_that_waited_too_long_for_a_worker_is_dispatched_anew_and_nothing_is_booked() -> None:
    world = World()
    world.submit("a", one(retry={"attempts": 1}), {"word": "x"})
    task = take_task(world)
    assert task.not_after_ms == world.now_ms + world.limits.queue_limit_ms
    world.result(failed(task, ErrorKind.DEADLINE_EXCEEDED, cost_microusd=0))
    fire_due(world)
    assert world.tasks[-1].attempt == 2
    world.run()
    assert world.outcome("a").status is JobStatus.SUCCEEDED
    assert world.outcome("a").receipt.duplicated == 0


def test_the_jobs_deadline_bounds_the_start_of_every_call() -> None:
    world = World()
    deadline = datetime.fromtimestamp((world.now_ms + 9_000) / 1000, tz=UTC)
    world.submit("a", one(), {"word": "x"}, deadline=deadline)
    assert take_task(world).not_after_ms == world.now_ms + 9_000


# ── Lost tasks and late answers ──────────────────────────────────────────────────────────────────────────────────────


def lost(task: Task) -> TaskLost:
    return TaskLost(task.task_id, task.attempt, "its offset is done and no result came", 0.0)


def test_a_lost_task_gets_another_attempt_and_its_money_stays_booked_at_the_bound() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"}, budget={"tokens": 1_000})
    task = take_task(world)
    reserved = header(world).reserved_tokens
    world.take("a", lost(task))
    assert header(world).reserved_tokens == 0
    assert dict(header(world).spent)["small"].unconfirmed_tokens == reserved > 0
    world.run()
    receipt = world.outcome("a").receipt
    assert (receipt.attempts, receipt.unconfirmed.attempts, receipt.unconfirmed.tokens) == (2, 1, reserved)
    assert receipt.duplicated == 1


def test_an_answer_that_comes_after_all_settles_its_money_and_ends_the_task() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"}, budget={"tokens": 1_000})
    first = take_task(world)
    world.take("a", lost(first))
    fire_due(world)
    second = world.tasks.pop()
    world.result(echo(first))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, "Say x")
    # The first is settled; the second, which is out for nothing, is booked at its bound.
    assert outcome.receipt.usage.input_tokens == 10
    assert outcome.receipt.unconfirmed.attempts == 1
    assert world.result(echo(second)).effects == [Ignore("job_over")]


def test_a_late_answer_settles_a_task_that_waits_for_its_next_attempt() -> None:
    world = World()
    world.submit("a", fan(), {"items": ["x", "y"]})
    first = take_task(world)
    other = take_task(world)
    world.take("a", lost(first))
    world.result(echo(first))
    assert record(world, "notes").status is TaskStatus.DONE
    assert not world.take("a", TimerFired(task_key("a", "notes", 0))).changes, "its timer has nothing left to do"
    world.result(echo(other))
    assert world.outcome("a").output == ["x", "y"]


def test_the_newer_attempts_result_is_settled_when_the_older_one_has_answered() -> None:
    world = World()
    world.submit("a", fan(), {"items": ["x", "y"]})
    first, other = take_task(world), take_task(world)
    world.take("a", lost(first))
    fire_due(world, "notes")
    second = world.tasks.pop()
    world.result(echo(first))
    before = dict(header(world).spent)["small"]
    assert (before.attempts, before.unconfirmed_attempts) == (2, 1)
    world.result(echo(second))
    after = dict(header(world).spent)["small"]
    assert (after.attempts, after.unconfirmed_attempts, after.tasks) == (2, 0, 1)
    world.result(echo(other))
    assert world.outcome("a").receipt.cost_microusd == 9


def test_what_is_not_out_any_more_cannot_be_lost() -> None:
    world = World()
    world.submit("a", fan(), {"items": ["x", "y"]})
    first = take_task(world)
    world.result(echo(first))
    assert world.take("a", lost(first)).effects == [Ignore("not_lost")]
    assert world.take("b", TaskLost("b/notes/0", 1, "", 0.0)).effects == [Ignore("not_lost")]


def test_an_attempt_that_was_never_made_is_set_aside() -> None:
    world = World()
    world.submit("a", fan(), {"items": ["x", "y"]})
    forged = echo(take_task(world)).model_copy(update={"attempt": 7})
    (effect,) = world.result(forged).effects
    assert isinstance(effect, SetAside)
    assert effect.reason == "unknown_attempt"


# ── Money ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_whose_bill_is_unknown_is_booked_at_its_bound() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"}, budget={"tokens": 1_000})
    task = take_task(world)
    bound = header(world).reserved_tokens
    world.result(failed(task, ErrorKind.TIMEOUT, unconfirmed=True, cost_microusd=0))
    assert dict(header(world).spent)["small"].unconfirmed_tokens == bound
    world.run()
    assert world.outcome("a").receipt.unconfirmed.tokens == bound


def test_what_was_in_flight_at_a_jobs_end_is_unconfirmed_on_its_receipt() -> None:
    world = World()
    world.submit("a", fan(on_error="fail"), {"items": list(range(4))}, budget={"tokens": 1_000})
    world.deal()
    reserved = header(world).reserved_tokens
    each = reserved // 4
    world.result(failed(world.tasks.pop(), ErrorKind.AUTH))
    receipt = world.outcome("a").receipt
    assert (receipt.unconfirmed.attempts, receipt.unconfirmed.tokens) == (3, 3 * each)


def test_usage_above_the_bound_is_an_overrun_and_said_so() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"}, budget={"tokens": 1_000})
    task = take_task(world)
    tokens, microusd = record(world).reserved or (0, 0)
    usage = echo(task).usage.model_copy(update={"input_tokens": tokens + 5, "output_tokens": 0})
    world.result(echo(task).model_copy(update={"usage": usage, "cost_microusd": microusd + 7}))
    receipt = world.outcome("a").receipt
    assert (receipt.overrun_tokens, receipt.overrun_microusd) == (5, 7)


def test_the_pool_that_a_result_names_is_not_believed() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"})
    world.result(echo(take_task(world)).model_copy(update={"pool": "forged"}))
    assert set(world.outcome("a").receipt.pools) == {"small"}


# ── Redrive ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_task_can_be_sent_back_while_its_job_runs_also_to_another_pool() -> None:
    world = World()
    world.submit("a", fan(require={"share": 0.5}), {"items": ["x", "y"]})
    first, second = take_task(world), take_task(world)
    world.result(failed(first, ErrorKind.AUTH))
    world.take("a", TaskRedriven("a/notes/0", pool="large", messages=(("user", "edited"),)))
    fire_due(world, "notes")
    again = world.tasks.pop()
    assert again.call is not None
    assert (again.attempt, again.pool, again.call.messages[0].content) == (2, "large", "edited")
    world.result(failed(again, ErrorKind.OVERLOADED))
    fire_due(world, "notes")
    third = world.tasks.pop()
    assert (third.attempt, third.pool) == (3, "large"), "the edit holds for its retries too"
    world.result(echo(third))
    world.result(echo(second))
    outcome = world.outcome("a")
    assert (outcome.output, outcome.partial) == (["edited", "y"], False)
    assert outcome.receipt.pools["large"].attempts == 2


@pytest.mark.parametrize(
    ("task_id", "fields", "reason"),
    [
        ("a/notes/9", {}, "unknown_task"),
        ("nonsense", {}, "unknown_task"),
        ("a/notes/1", {}, "task_over"),
        ("a/notes/0", {"pool": "nowhere"}, "invalid_redrive"),
        ("a/notes/0", {"pool": "large"}, "invalid_redrive"),
        ("a/notes/0", {"messages": (("user", "x" * 70_000),)}, "invalid_redrive"),
    ],
)
def test_a_redrive_that_cannot_be_is_set_aside_with_its_reason(task_id: str, fields: Any, reason: str) -> None:
    world = World(public_pools=("large",))
    world.submit("a", fan(require={"share": 0.3}), {"items": ["x", "y", "z"]}, sensitivity="confidential")
    first, second = take_task(world), take_task(world)
    world.result(failed(first, ErrorKind.AUTH))
    world.result(echo(second))
    decision = world.take("a", TaskRedriven(task_id, **fields))
    assert not decision.changes
    assert [effect.reason for effect in decision.effects if isinstance(effect, SetAside)] == [reason]


def test_a_job_that_is_over_takes_no_redrive() -> None:
    world = World()
    world.submit("a", one(retry={"attempts": 1}), {"word": "x"})
    world.run(lambda task: failed(task, ErrorKind.AUTH))
    (effect,) = world.take("a", TaskRedriven("a/answer/0")).effects
    assert isinstance(effect, SetAside)
    assert effect.reason == "job_over"

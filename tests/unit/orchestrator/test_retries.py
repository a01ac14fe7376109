"""What follows an attempt that failed, was interrupted, was lost, or answers late: decided by the real machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.orchestrator.core.effects import DispatchTask, Ignore, SetAside, SetTaskAside
from headrace.orchestrator.core.events import TaskLost, TaskRedriven, TimerFired
from headrace.orchestrator.core.retry import DEFAULTS, backoff_ms, policy_for
from headrace.orchestrator.core.state import JobHeader, TaskRecord, TaskStatus, job_key, task_key
from headrace.orchestrator.core.steps import RetryPolicy, RetryRule, RetryRules
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import KINDS, ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from tests.world import World, echo


def one(**step: Any) -> dict[str, Any]:
    llm = {"pool": "small", "prompt": "Say {{ input.word }}", "max_output_tokens": 20}
    return {"name": "one", "version": 1, "steps": {"answer": {"llm": llm, **step}}}


def fan(**step: Any) -> dict[str, Any]:
    llm = {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 20}
    return {"name": "fan", "version": 1, "steps": {"notes": {"for_each": "{{ input.items }}", "llm": llm, **step}}}


def failed(task: Task, kind: ErrorKind, **fields: Any) -> Result:
    wish = fields.pop("retry_after_ms", None)
    failure = Failure(kind=kind, message=f"scripted {kind.value}", retry_after_ms=wish)
    return echo(task).model_copy(
        update={"failure": failure, "output": None, "usage": type(echo(task).usage)(), **fields}
    )


def killed(task: Task) -> Result:
    return failed(task, ErrorKind.INTERRUPTED, cause="kill", unconfirmed=True, cost_microusd=0)


def header(world: World) -> JobHeader:
    found = world.records[job_key("a")]
    assert isinstance(found, JobHeader)
    return found


def record(world: World, step: str = "answer", index: int = 0) -> TaskRecord:
    found = world.records[task_key("a", step, index)]
    assert isinstance(found, TaskRecord)
    return found


def take_task(world: World) -> Task:
    world.deal()
    return world.tasks.pop(0)


def fire_due(world: World, step: str = "answer", index: int = 0) -> None:
    due = record(world, step, index).due_ms
    assert due is not None
    world.now_ms = max(world.now_ms, due)
    world.take("a", TimerFired(task_key("a", step, index)))


# ── Policies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_on_says_of_a_kind_goes_before_the_step_and_the_step_before_the_default() -> None:
    rules = RetryRules(RetryRule(attempts=4), {ErrorKind.TIMEOUT: RetryRule(attempts=2, backoff_ms=9)})
    assert policy_for(ErrorKind.TIMEOUT, rules) == RetryPolicy(2, 9, 30_000)
    assert policy_for(ErrorKind.NETWORK, rules).attempts == 4
    assert policy_for(ErrorKind.RATE_LIMITED, RetryRules()) == DEFAULTS[ErrorKind.RATE_LIMITED]


def test_a_kind_that_cannot_be_helped_is_tried_again_only_where_it_is_named() -> None:
    general = RetryRules(RetryRule(attempts=9))
    assert policy_for(ErrorKind.AUTH, general).attempts == 1
    assert policy_for(ErrorKind.AUTH, RetryRules(on={ErrorKind.AUTH: RetryRule(attempts=3)})).attempts == 3


def test_every_kind_where_another_attempt_can_help_has_a_default() -> None:
    helped = {kind for kind, rule in KINDS.items() if rule.retriable}
    assert helped == set(DEFAULTS)


@pytest.mark.parametrize("attempt", [1, 2, 5, 40])
def test_the_wait_is_full_jitter_and_never_less_than_the_provider_asked_for(attempt: int) -> None:
    policy = RetryPolicy(50, 500, 4_000)
    assert backoff_ms(attempt, policy=policy, jitter=0.0) == 0
    assert backoff_ms(attempt, policy=policy, jitter=0.999) <= min(4_000, 500 << (attempt - 1))
    assert backoff_ms(attempt, policy=policy, jitter=0.5, retry_after_ms=7_000) == 7_250


def test_each_kind_is_counted_against_its_own_limit() -> None:
    world = World()
    retry = {"attempts": 2, "on": {"rate_limited": {"attempts": 4}}}
    world.submit("a", one(retry=retry), {"word": "x"})
    kinds = [ErrorKind.RATE_LIMITED, ErrorKind.RATE_LIMITED, ErrorKind.RATE_LIMITED, ErrorKind.SERVER_ERROR]
    world.run(lambda task: failed(task, kinds[task.attempt - 1]))
    assert [task.attempt for task in world.dispatched] == [1, 2, 3, 4]
    assert world.outcome("a").reason is ErrorKind.SERVER_ERROR


def test_a_retry_says_what_it_follows() -> None:
    world = World()
    world.submit("a", one(), {"word": "x"})
    world.run(lambda task: failed(task, ErrorKind.OVERLOADED) if task.attempt == 1 else echo(task))
    sent = [effect for effect in world.effects if isinstance(effect, DispatchTask)]
    assert [(effect.after, effect.cause) for effect in sent] == [("", ""), ("overloaded", "")]


# ── The window ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_waiting_retry_takes_no_place_from_tasks_that_could_run() -> None:
    world = World()
    world.submit("a", fan(max_in_flight=1), {"items": ["x", "y"]})
    first = take_task(world)
    world.result(failed(first, ErrorKind.RATE_LIMITED, retry_after_ms=60_000))
    assert take_task(world).task_id == "a/notes/1"


def test_waiting_retries_stop_the_window_once_as_many_wait_as_it_holds() -> None:
    world = World()
    world.submit("a", fan(max_in_flight=4), {"items": list(range(100))})
    for _ in range(100):
        world.deal()
        if not world.tasks:
            break
        world.result(failed(world.tasks.pop(0), ErrorKind.OVERLOADED, retry_after_ms=60_000))
    assert len(world.dispatched) == 2 * 4, "an outage does not push the whole job into the heap of timers"


def test_a_retry_whose_time_has_come_waits_while_the_window_is_full() -> None:
    world = World()
    world.submit("a", fan(max_in_flight=1), {"items": ["x", "y"]})
    world.result(failed(take_task(world), ErrorKind.OVERLOADED))
    second = take_task(world)
    fire_due(world, "notes")
    assert world.tasks == []
    world.result(echo(second))
    fire_due(world, "notes")
    assert [(task.task_id, task.attempt) for task in world.tasks] == [("a/notes/0", 2)]


def test_a_steps_own_window_counts_its_own_tasks_only() -> None:
    world = World()
    llm = {"pool": "small", "prompt": "{{ item }}"}
    steps = {
        "wide": {"for_each": "{{ input.items }}", "llm": llm},
        "narrow": {"for_each": "{{ input.items }}", "llm": llm, "max_in_flight": 2},
    }
    world.submit("a", {"name": "w", "version": 1, "steps": steps}, {"items": list(range(50))})
    world.deal()
    assert sum(task.step == "narrow" for task in world.tasks) == 2
    assert sum(task.step == "wide" for task in world.tasks) == 50


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

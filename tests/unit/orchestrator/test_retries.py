"""Whether and when a failed attempt is made again: decided by the real machine."""

from __future__ import annotations

import pytest

from headrace.orchestrator.core.effects import DispatchTask
from headrace.orchestrator.core.retry import DEFAULTS, backoff_ms, policy_for
from headrace.orchestrator.core.steps import RetryPolicy, RetryRule, RetryRules
from headrace.schemas.errors import KINDS, ErrorKind
from tests.unit.orchestrator.troubles import failed, fan, fire_due, one, take_task
from tests.world import World, echo

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

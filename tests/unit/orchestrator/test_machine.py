"""What a job does, decided by the real machine, without Kafka."""

from __future__ import annotations

import random
from typing import Any

import pytest

from headrace.orchestrator.core.effects import EmitEvent, EmitOutcome, Ignore, PublishControl, SetAside
from headrace.orchestrator.core.events import CancelRequested, ClosingResumed, JobRefused, TimerFired
from headrace.orchestrator.core.machine import AT_ONCE
from headrace.orchestrator.core.state import job_key, marker_key
from headrace.orchestrator.core.view import Limits
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from tests.world import World, echo

ONE = {
    "name": "one",
    "version": 1,
    "steps": {"answer": {"llm": {"pool": "small", "prompt": "Say {{ input.word }}", "max_output_tokens": 20}}},
}
FAN = {
    "name": "fan",
    "version": 1,
    "input": {"type": "object", "required": ["items"], "properties": {"items": {"type": "array"}}},
    "steps": {
        "notes": {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "{{ item }}"}},
        "all": {
            "reduce": "notes",
            "fan_in": 3,
            "llm": {"pool": "large", "prompt": "{% for n in items %}{{ n }},{% endfor %}"},
        },
    },
    "output": {"all": "{{ all }}", "notes": "{{ notes }}"},
}


def fan(**step: Any) -> dict[str, Any]:
    steps = {"notes": {"for_each": "{{ input.items }}", "llm": {"pool": "small", "prompt": "{{ item }}"}, **step}}
    return {"name": "fan", "version": 2, "steps": steps, "output": "{{ notes }}"}


def failing(kind: ErrorKind, *, when: Any = lambda task: True, **fields: Any) -> Any:
    def answer(task: Task) -> Result:
        if not when(task):
            return echo(task)
        failure = Failure(kind=kind, message="no", **fields)
        return echo(task).model_copy(update={"failure": failure, "output": None})

    return answer


def test_a_job_of_one_task_ends_with_its_output_and_a_receipt() -> None:
    world = World()
    world.submit("a", ONE, {"word": "hello"})
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, "Say hello")
    assert (outcome.receipt.tasks, outcome.receipt.attempts, outcome.receipt.cost_microusd) == (1, 1, 3)
    assert outcome.receipt.pools["small"].models == ("small",)


def test_items_keep_their_order_and_the_tree_merges_them_left_to_right() -> None:
    world = World()
    items = [str(number) for number in range(20)]
    world.submit("a", FAN, {"items": items})
    world.run(shuffle=random.Random(7))
    output = world.outcome("a").output
    assert output["notes"] == items
    assert [part for part in output["all"].split(",") if part] == items


def test_the_tree_starts_before_the_fan_out_is_complete() -> None:
    world = World()
    world.submit("a", FAN, {"items": list("abcdefghi")})
    world.deal()
    for task in [task for task in world.tasks if task.step == "notes"][:3]:
        world.tasks.remove(task)
        world.result(echo(task))
    world.deal()
    assert [task.task_id for task in world.tasks if task.step == "all"] == ["a/all/0"]


def test_a_job_without_items_ends_with_nothing_done() -> None:
    world = World()
    world.submit("a", FAN, {"items": []})
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, {"all": None, "notes": []})
    assert world.dispatched == []


def test_no_more_tasks_are_out_than_the_jobs_window_allows() -> None:
    world = World(limits=Limits(max_in_flight=5))
    world.submit("a", FAN, {"items": list(range(50))})
    world.deal()
    assert len(world.tasks) == 5
    world.result(echo(world.tasks.pop(0)))
    world.deal()
    assert len(world.tasks) == 5


def test_a_step_may_widen_its_window() -> None:
    world = World()
    world.submit("a", fan(max_in_flight=400), {"items": list(range(500))})
    world.deal()
    assert len(world.tasks) == 400


def test_a_retriable_failure_waits_and_is_tried_again() -> None:
    world = World()
    seen: list[int] = []

    def flaky(task: Task) -> Result:
        seen.append(task.attempt)
        return (failing(ErrorKind.RATE_LIMITED, retry_after_ms=700) if task.attempt < 3 else echo)(task)

    world.submit("a", ONE, {"word": "x"})
    started = world.now_ms
    world.run(flaky)
    assert seen == [1, 2, 3]
    assert world.now_ms - started >= 1_400, "the provider's own wish is obeyed"
    assert world.outcome("a").receipt.attempts == 3


def test_attempts_never_exceed_the_policy() -> None:
    world = World()
    world.submit("a", fan(retry={"attempts": 2}), {"items": ["x"]})
    world.run(failing(ErrorKind.SERVER_ERROR))
    assert [task.attempt for task in world.dispatched] == [1, 2]
    assert (world.outcome("a").status, world.outcome("a").reason) == (JobStatus.FAILED, ErrorKind.SERVER_ERROR)


def test_a_failure_that_another_attempt_cannot_help_ends_the_job_at_once() -> None:
    world = World()
    world.submit("a", ONE, {"word": "x"})
    world.run(failing(ErrorKind.AUTH))
    assert len(world.dispatched) == 1
    assert world.outcome("a").reason is ErrorKind.AUTH


def test_items_may_fail_within_the_share_and_are_reported() -> None:
    world = World()
    world.submit("a", fan(require={"share": 0.9}), {"items": list(range(20))})
    world.run(failing(ErrorKind.BAD_REQUEST, when=lambda task: task.task_id.endswith("/7")))
    outcome = world.outcome("a")
    assert (outcome.status, outcome.partial, outcome.failed_items_total) == (JobStatus.SUCCEEDED, True, 1)
    assert outcome.failed_items[0].task_id == "a/notes/7"
    assert outcome.output[7] is None


def test_a_job_fails_as_soon_as_too_many_items_have_failed() -> None:
    world = World()
    world.submit("a", fan(require={"share": 0.9}), {"items": list(range(20))})
    world.run(failing(ErrorKind.BAD_REQUEST))
    outcome = world.outcome("a")
    assert outcome.status is JobStatus.FAILED
    assert outcome.failed_items_total == 3, "the third failure decides: 18 of 20 must succeed"


def test_a_default_stands_in_for_what_failed() -> None:
    world = World()
    world.submit("a", fan(on_error={"default": "none"}), {"items": ["x", "y"]})
    world.run(failing(ErrorKind.BAD_REQUEST, when=lambda task: task.task_id.endswith("/0")))
    assert world.outcome("a").output == ["none", "y"]


def test_results_that_come_twice_or_late_change_nothing() -> None:
    world = World()
    world.submit("a", FAN, {"items": list("abcd")})
    world.run(repeat=True)
    assert world.outcome("a").receipt.attempts == len(world.dispatched)
    late = world.result(echo(world.dispatched[0]))
    assert not late.changes
    assert late.effects == [Ignore("job_over")]


def test_a_result_for_a_task_that_was_never_dispatched_is_set_aside() -> None:
    world = World()
    world.submit("a", ONE, {"word": "x"})
    world.deal()
    forged = echo(world.tasks[0]).model_copy(update={"task_id": "a/answer/9"})
    decision = world.result(forged)
    assert not decision.changes
    assert isinstance(decision.effects[0], SetAside)


def test_the_same_submission_again_is_answered_with_the_same_bytes() -> None:
    world = World()
    world.submit("a", ONE, {"word": "x"})
    during = world.submit("a", ONE, {"word": "x"})
    assert not during.changes
    world.run()
    first = next(effect for effect in world.effects if isinstance(effect, EmitOutcome))
    world.now_ms += 5_000
    again = world.submit("a", ONE, {"word": "x"}).effects[0]
    assert isinstance(again, EmitOutcome)
    assert (again.value, again.at_ms, again.ce_id, again.repeat) == (first.value, first.at_ms, first.ce_id, True)
    assert len(world.dispatched) == 1


def test_the_same_id_with_other_content_is_a_conflict() -> None:
    world = World()
    world.submit("a", ONE, {"word": "x"})
    decision = world.submit("a", ONE, {"word": "y"})
    assert not decision.changes
    assert isinstance(decision.effects[0], SetAside)
    assert decision.effects[0].reason == "job_conflict"


@pytest.mark.parametrize(
    ("workflow", "input", "kind"),
    [
        ("nowhere@1", {}, ErrorKind.UNKNOWN_WORKFLOW),
        (FAN, {}, ErrorKind.INVALID_INPUT),
        ({**ONE, "steps": {"a": {"llm": {"pool": "smal", "prompt": "x"}}}}, {}, ErrorKind.INVALID_WORKFLOW),
        (ONE, {"word": "x" * 17_000_000}, ErrorKind.TOO_LARGE),
    ],
)
def test_what_cannot_run_is_rejected_with_its_reason(workflow: Any, input: Any, kind: ErrorKind) -> None:
    world = World()
    world.submit("a", workflow, input)
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, kind)
    assert outcome.message
    assert list(world.records) == [marker_key("a")]


def test_a_submission_that_breaks_the_contract_is_rejected_once() -> None:
    world = World()
    for _ in range(2):
        world.take("a", JobRefused(ErrorKind.INVALID_JOB, "not JSON", "hash", world.now_ms))
    assert [outcome.status for outcome in world.outcomes("a")] == [JobStatus.REJECTED] * 2
    assert len({effect.value for effect in world.effects if isinstance(effect, EmitOutcome)}) == 1


def test_a_missing_input_field_fails_the_job_and_names_it() -> None:
    world = World()
    world.submit("a", ONE, {})
    world.run()
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INVALID_INPUT)
    assert "word" in outcome.message


def test_a_prompt_that_cannot_fit_the_context_is_not_paid_for() -> None:
    world = World()
    workflow = {"name": "w", "version": 1, "steps": {"a": {"llm": {"pool": "tiny", "prompt": "{{ input.text }}"}}}}
    world.submit("a", workflow, {"text": "word " * 5_000})
    world.run()
    assert world.outcome("a").reason is ErrorKind.CONTEXT_TOO_LONG
    assert world.dispatched == []


def test_a_confidential_job_never_reaches_a_public_pool() -> None:
    world = World(public_pools=("small",))
    world.submit("a", ONE, {"word": "x"}, sensitivity="confidential")
    world.run()
    assert world.outcome("a").status is JobStatus.REJECTED
    assert world.dispatched == []


def test_after_the_retention_nothing_is_left() -> None:
    world = World()
    world.submit("a", FAN, {"items": list(range(600))})
    world.deal()
    world.take("a", CancelRequested(world.now_ms))
    world.close()
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]
    world.now_ms += world.limits.retention_ms
    lifted = world.take("a", TimerFired(marker_key("a")))
    assert lifted.effects == [PublishControl("job/a", None)]
    assert [key.split("/")[0] for key in world.records] == ["workflow"]


def test_closing_takes_at_most_so_many_records_at_a_time() -> None:
    world = World()
    world.submit("a", fan(), {"items": list(range(200))})
    world.deal()
    world.take("a", CancelRequested(world.now_ms))
    rounds = 0
    while job_key("a") in world.records:
        rounds += 1
        assert len(world.take("a", ClosingResumed(limit=50)).changes) <= 52
    assert rounds >= 4


def test_a_large_output_becomes_a_claim_check_and_is_read_back() -> None:
    world = World()
    world.submit("a", FAN, {"items": ["x" * 5_000, "y"]})
    world.run()
    assert world.outcome("a").output["notes"] == ["x" * 5_000, "y"]
    assert world.objects


def test_a_large_input_and_a_large_outcome_travel_by_reference() -> None:
    world = World(limits=Limits(inline_bytes=2_000))
    world.submit("a", fan(), {"items": [f"{number}" * 100 for number in range(50)]})
    world.run()
    outcome = world.outcome("a")
    assert outcome.output is None
    assert outcome.output_ref is not None
    assert len(world.load(outcome.output_ref)) == 50


def test_money_is_reserved_before_dispatch_and_never_overspent() -> None:
    world = World()
    workflow = fan(llm={"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 10})
    world.submit("a", workflow, {"items": list(range(100))}, budget={"tokens": 400})
    world.deal()
    assert 0 < len(world.tasks) < 100
    bound = 1 + 64 + 10  # one digit, the template's overhead, the answer
    assert len(world.tasks) * bound <= 400 < (len(world.tasks) + 1) * bound
    world.run()
    outcome = world.outcome("a")
    assert outcome.reason is ErrorKind.BUDGET_EXCEEDED
    assert outcome.receipt.usage.input_tokens + outcome.receipt.usage.output_tokens <= 400


def test_a_budget_that_suffices_is_waited_for() -> None:
    world = World()
    workflow = fan(llm={"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 10})
    world.submit("a", workflow, {"items": list(range(20))}, budget={"tokens": 400})
    world.run()
    assert world.outcome("a").status is JobStatus.SUCCEEDED


def test_a_budget_needs_a_bound_on_every_call() -> None:
    world = World()
    world.submit("a", fan(), {"items": [1]}, budget={"tokens": 1_000})
    assert world.outcome("a").reason is ErrorKind.INVALID_JOB


def test_one_events_cost_does_not_follow_its_jobs_size() -> None:
    def most(items: int) -> int:
        world = World()
        world.submit("a", fan(), {"items": list(range(items))})
        world.touched.clear()
        while True:
            grants = world.window.deal(64)
            for grant in grants:
                world.take("a", type(grant) and _granted(grant))
            if not world.tasks:
                break
            world.result(echo(world.tasks.pop(0)))
        world.close()
        return max(world.touched)

    assert most(2_000) == most(400)


def _granted(grant: Any) -> Any:
    from headrace.orchestrator.core.events import DispatchGranted

    return DispatchGranted(grant.step, grant.count)


def test_events_are_per_step_and_not_per_task_on_the_happy_path() -> None:
    world = World()
    world.submit("a", FAN, {"items": list(range(100))})
    world.run()
    kinds = [effect.event.type for effect in world.effects if isinstance(effect, EmitEvent)]
    assert kinds.count("step.started") == kinds.count("step.finished") == 2
    assert len(kinds) == 6
    assert len({effect.ce_id for effect in world.effects if isinstance(effect, EmitEvent)}) == 6


def test_a_small_job_is_closed_in_the_decision_that_ends_it_and_a_larger_one_by_and_by() -> None:
    for items, left in ((AT_ONCE, False), (AT_ONCE + 1, True)):
        world = World()
        world.submit("a", fan(), {"items": list(range(items))})
        world.deal()
        world.take("a", CancelRequested(world.now_ms))
        assert world.outcome("a").status is JobStatus.CANCELLED
        assert (job_key("a") in world.records) is left
        assert any(key.startswith(("task/", "input/")) for key in world.records) is left

"""A cascade asks pools in order, and goes on where an answer is not accepted or does not come."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import PublishControl, SetTaskAside
from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus, PatternReceipt, Result, Task
from tests.answers import by_index, events, refusal, reply, text, workflow
from tests.world import POOLS, World

SURE = {"confidence": {"at_least": 0.8}}
SAMPLES = {"agreement": {"samples": 3, "at_least": 2}}
SMALL_COST, LARGE_COST = 140, 1_400
"""Of a call of 1,000 and 100 tokens."""


def cascade(accept: dict[str, Any], pools: Any = ("small", "large"), **fields: Any) -> dict[str, Any]:
    return {"cascade": {"pools": list(pools), "prompt": "{{ input.q }}", "accept": accept, **fields}}


def ran(step: dict[str, Any], answer: Any, **fields: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"q": "why?"}, **fields)
    world.run(answer)
    return world


def receipt(world: World) -> PatternReceipt:
    pattern = world.outcome("j").receipt.steps["s"].pattern
    assert pattern is not None
    return pattern


def sure(output: Any, confidence: float | None) -> Any:
    return lambda task: reply(task, output, confidence=confidence)


def test_an_answer_that_is_sure_enough_saves_the_larger_pool() -> None:
    world = ran(cascade(SURE), by_index(sure("small", 0.9)))
    assert (world.outcome("j").output, len(world.dispatched)) == ("small", 1)
    assert world.dispatched[0].call is not None
    assert world.dispatched[0].call.logprobs
    assert receipt(world) == PatternReceipt(to="small", saved_microusd=LARGE_COST - SMALL_COST)
    assert events(world, "cascade.escalated") == []


@pytest.mark.parametrize(
    ("confidence", "said"),
    [(0.7, "confidence is 0.700, 0.8 is needed"), (None, "confidence is not known, 0.8 is needed")],
)
def test_an_unsure_answer_goes_up_with_its_reason_and_its_cost(confidence: float | None, said: str) -> None:
    world = ran(cascade(SURE), by_index(sure("small", confidence), sure("large", 0.1)))
    assert (world.outcome("j").output, [task.pool for task in world.dispatched]) == ("large", ["small", "large"])
    (event,) = events(world, "cascade.escalated")
    assert event == {"from": "small", "to": "large", "reason": said, "cost_microusd": SMALL_COST}
    assert receipt(world) == PatternReceipt(to="large", escalations=1, saved_microusd=-SMALL_COST)


def test_a_pool_that_fails_for_good_is_gone_over_without_a_dead_letter() -> None:
    world = ran({**cascade(SURE), "retry": {"attempts": 2}}, by_index(ErrorKind.SERVER_ERROR, "large"))
    outcome = world.outcome("j")
    assert (outcome.output, outcome.status, outcome.partial) == ("large", JobStatus.SUCCEEDED, False)
    assert [task.attempt for task in world.dispatched] == [1, 2, 1]
    assert events(world, "cascade.escalated")[0]["reason"] == "failed: server_error"
    assert not [effect for effect in world.effects if isinstance(effect, SetTaskAside)]


def test_a_prompt_too_long_for_the_first_pool_goes_to_the_next() -> None:
    world = World()
    words = " ".join(f"word{number}" for number in range(2_000))
    world.submit("j", workflow(cascade(SURE, pools=("tiny", "large"))), {"q": words})
    world.run(by_index(None, "large"))
    assert (world.outcome("j").output, [task.pool for task in world.dispatched]) == ("large", ["large"])
    assert events(world, "cascade.escalated")[0]["reason"] == "failed: context_too_long"


def test_where_the_last_pool_fails_the_step_does() -> None:
    world = ran(cascade(SURE), by_index(ErrorKind.BAD_REQUEST, ErrorKind.AUTH))
    assert (world.outcome("j").status, world.outcome("j").reason) == (JobStatus.FAILED, ErrorKind.AUTH)
    assert world.outcome("j").failed_items_total == 2
    assert len([effect for effect in world.effects if isinstance(effect, SetTaskAside)]) == 1
    world = ran({**cascade(SURE), "on_error": "skip"}, by_index(ErrorKind.BAD_REQUEST, ErrorKind.AUTH))
    assert (world.outcome("j").status, world.outcome("j").output, world.outcome("j").partial) == (
        JobStatus.SUCCEEDED,
        None,
        True,
    )


def test_samples_that_agree_are_accepted_before_the_rest_has_come() -> None:
    world = World()
    world.submit("j", workflow(cascade(SAMPLES), {"s": "{{ s }}", "t": "{{ t }}"}, t=after()), {"q": "why?"})
    world.deal()
    first, second, third = world.tasks[:3]
    world.result(reply(first, " Paris"))
    world.result(reply(second, "paris\n"))
    orders = [effect for effect in world.effects if isinstance(effect, PublishControl)]
    assert [(order.subject, order.control is not None) for order in orders] == [("task/j/s/2", True)]
    world.tasks = [task for task in world.tasks if task.step == "t"]
    world.result(refusal(third, ErrorKind.CANCELLED))
    world.run(lambda task: reply(task, "then"))
    outcome = world.outcome("j")
    assert outcome.output == {"s": " Paris", "t": "then"}
    assert (outcome.failed_items, outcome.failed_items_total, outcome.partial) == ((), 0, False)
    assert receipt(world) == PatternReceipt(to="small", saved_microusd=LARGE_COST - 2 * SMALL_COST)
    lifted = [e for e in world.effects if isinstance(e, PublishControl) and e.subject.startswith("task/")]
    assert lifted[-1].control is None


def after() -> dict[str, Any]:
    return {"llm": {"pool": "small", "prompt": "{{ s }}"}}


def test_samples_that_do_not_agree_go_up() -> None:
    world = ran(cascade(SAMPLES), by_index("a", "b", "c", "large"))
    assert world.outcome("j").output == "large"
    assert events(world, "cascade.escalated")[0]["reason"] == "1 of 3 agree, 2 must"
    assert events(world, "cascade.escalated")[0]["cost_microusd"] == 3 * SMALL_COST


def test_two_pools_side_by_side_can_agree_about_a_part_of_their_answers() -> None:
    schema = {"type": "object"}
    step = cascade(
        {"agreement": {"at_least": 2, "compare": "{{ answer.choice }}"}},
        pools=(["small", "tiny"], "large"),
        output=schema,
    )
    one, two = {"choice": "B", "why": "x"}, {"choice": "b", "why": "y"}
    world = ran(step, by_index(one, two))
    assert (world.outcome("j").output, receipt(world).to) == (one, "small+tiny")
    world = ran(step, by_index(one, {"why": "no choice"}, "large"))
    assert events(world, "cascade.escalated")[0]["reason"] == "1 of 2 agree, 2 must"


def test_an_answer_that_breaks_the_schema_goes_up_without_another_attempt() -> None:
    schema = {"type": "object", "required": ["sql"]}
    world = ran(cascade({"schema": schema}), by_index(ErrorKind.MALFORMED_OUTPUT, {"sql": "x"}))
    assert [task.attempt for task in world.dispatched] == [1, 1]
    assert all(task.call is not None and task.call.output_schema == schema for task in world.dispatched)
    strict = {"properties": {"sure": {"const": True}}}
    step = cascade({"schema": strict}, output={"type": "object"})
    world = ran(step, by_index({"sure": False}, {"sure": False}))
    assert world.outcome("j").output == {"sure": False}, "the last pool's answer is taken as it is"
    assert events(world, "cascade.escalated")[0]["reason"] == "the answer does not hold the schema"


JUDGE = {"judge": {"pool": "tiny", "prompt": "Rate: {{ answer }}", "at_least": 0.5}}


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        ({"score": 0.4}, "the judge's score is 0.4, 0.5 is needed"),
        ({"score": 7}, "the judge gave no score from 0 to 1"),
        ({"score": True}, "the judge gave no score from 0 to 1"),
        (ErrorKind.BAD_REQUEST, "the judge failed: bad_request"),
    ],
)
def test_what_the_judge_does_not_accept_goes_up(judged: Any, reason: str) -> None:
    world = ran(cascade(JUDGE), by_index("small", judged, "large"))
    assert (world.outcome("j").output, text(world.dispatched[1])) == ("large", "Rate: small")
    assert events(world, "cascade.escalated")[0]["reason"] == reason


def test_what_the_judge_accepts_is_the_answer() -> None:
    world = ran(cascade(JUDGE), by_index("small", {"score": 0.5}))
    assert (world.outcome("j").output, [task.pool for task in world.dispatched]) == ("small", ["small", "tiny"])


def test_a_late_answer_is_paid_and_not_kept() -> None:
    world = World()
    world.submit("j", workflow(cascade(SAMPLES), {"s": "{{ s }}", "t": "{{ t }}"}, t=after()), {"q": "why?"})
    world.deal()
    for task in world.tasks[:3]:
        world.result(reply(task, "a" if task.task_id != "j/s/2" else "late"))
    world.tasks = [task for task in world.tasks if task.step == "t"]
    world.memos.clear()  # As after a restart: what the step came to is found again.
    world.run(lambda task: reply(task, "then"))
    outcome = world.outcome("j")
    assert outcome.output == {"s": "a", "t": "then"}
    assert outcome.receipt.cost_microusd == 4 * SMALL_COST
    assert receipt(world).saved_microusd == LARGE_COST - 3 * SMALL_COST


def test_an_open_call_that_fails_when_the_step_is_over_is_not_made_again() -> None:
    world = World()
    world.submit("j", workflow(cascade(SAMPLES), {"s": "{{ s }}", "t": "{{ t }}"}, t=after()), {"q": "why?"})
    world.deal()
    tasks = world.tasks[:3]
    world.result(refusal(tasks[0], ErrorKind.OVERLOADED))  # It waits for another attempt when the step ends.
    world.result(reply(tasks[1], "a"))
    world.result(reply(tasks[2], "a"))
    world.tasks = [task for task in world.tasks if task.step == "t"]
    world.run(lambda task: reply(task, "then"))
    assert [task.task_id for task in world.dispatched] == ["j/s/0", "j/s/1", "j/s/2", "j/t/0"]
    assert world.outcome("j").output == {"s": "a", "t": "then"}


def never(task: Task) -> Result:
    raise AssertionError(task.task_id)


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (cascade(SURE, pools=("small",)), "use names of pools, from 2 to 8"),
        (cascade(SURE, pools=("smal", "large")), "unknown pool 'smal' (did you mean 'small'?)"),
        (cascade(SURE, pools=("small", ["large", "tiny"])), "one pool stands last"),
        (cascade(SURE, pools=(["small", "tiny"], "large")), "side by side need accept.agreement"),
        (cascade({}), "accept needs one of schema, confidence, agreement or judge"),
        (cascade({"agreement": {"at_least": 2}}), "1 answers cannot have 2 that agree"),
        (cascade({"judge": {**JUDGE["judge"], "prompt": "{{ anser }}"}}), "did you mean 'answer'?"),
        (cascade({"judge": {**JUDGE["judge"], "output": {}}}), "leave output out"),
        (cascade({"agreement": {"at_least": 2, "samples": 16}}, pools=["small"] * 6 + ["large"]), "may make 97 calls"),
        (cascade({"schema": {"type": "objct"}}), "steps.s.cascade.accept.schema: not a valid JSON Schema"),
        (cascade({"confidnce": 1}), "unknown key 'confidnce' (did you mean 'confidence'?)"),
        (cascade({"agreement": {"at_least": 2, "samples": 2, "compare": "answer"}}), "one expression"),
        (cascade(SURE, prompt="{{ answer }}"), "unknown reference 'answer'"),
    ],
)
def test_a_cascade_that_does_not_hold_is_refused_with_the_reason(step: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(step), pools=POOLS)
    assert part in str(caught.value)

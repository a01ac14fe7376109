"""A refinement writes drafts until one is accepted, and says whether one was."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import by_index, events, text, workflow
from tests.world import POOLS, World

GENERATE = {
    "pool": "small",
    "prompt": "{{ round }}: {{ input.q }}{% if feedback %} {{ draft }}, {{ feedback }}{% endif %}",
}
EVALUATE = {"pool": "large", "prompt": "{{ round }}: {{ draft }}"}
YES, NO = {"accept": True, "feedback": ""}, {"accept": False, "feedback": "longer"}


def refine(**fields: Any) -> dict[str, Any]:
    return {"refine": {"generate": GENERATE, "evaluate": EVALUATE, **fields}}


def ran(step: dict[str, Any], *outputs: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"q": "why?"})
    world.run(by_index(*outputs))
    return world


def test_a_draft_that_is_rejected_is_written_again_with_the_feedback() -> None:
    world = ran(refine(), "a", NO, "ab", YES)
    assert world.outcome("j").output == {"draft": "ab", "accepted": True, "rounds": 2, "feedback": ""}
    assert [text(task) for task in world.dispatched] == ["1: why?", "1: a", "2: why? a, longer", "2: ab"]
    assert [task.pool for task in world.dispatched] == ["small", "large", "small", "large"]
    assert events(world, "refine.rejected") == [{"round": 1}]
    assert events(world, "refine.decided") == [{"accepted": True, "rounds": 2, "draft": 2}]
    pattern = world.outcome("j").receipt.steps["s"].pattern
    assert pattern is not None
    assert (pattern.rounds, pattern.accepted) == (2, True)


def test_after_max_rounds_the_last_draft_is_kept_and_flagged() -> None:
    world = ran(refine(max_rounds=2), "a", NO, "ab", NO)
    assert world.outcome("j").output == {"draft": "ab", "accepted": False, "rounds": 2, "feedback": "longer"}
    assert world.outcome("j").status is JobStatus.SUCCEEDED


def test_the_best_draft_can_be_kept_in_its_place() -> None:
    outputs = ("a", {**NO, "score": 0.7}, "ab", {**NO, "score": 0.2})
    world = ran(refine(max_rounds=2, keep="best"), *outputs)
    assert world.outcome("j").output == {"draft": "a", "accepted": False, "rounds": 2, "feedback": "longer"}
    assert events(world, "refine.decided") == [{"accepted": False, "rounds": 2, "draft": 1, "score": 0.7}]


def test_an_accepted_draft_must_have_its_score() -> None:
    step = refine(evaluate={**EVALUATE, "at_least": 0.8})
    world = ran(step, "a", {**YES, "score": 0.7}, "ab", {**YES, "score": 0.8})
    assert world.outcome("j").output["draft"] == "ab"
    assert world.dispatched[1].call is not None
    assert world.dispatched[1].call.output_schema is not None
    assert list(world.dispatched[1].call.output_schema["properties"]) == ["accept", "feedback", "score"]


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        ((ErrorKind.AUTH,), ErrorKind.AUTH),
        (("a", ErrorKind.CONTENT_FILTERED), ErrorKind.CONTENT_FILTERED),
        (("a", {"accept": "yes"}), ErrorKind.MALFORMED_OUTPUT),
        (("a", "fine"), ErrorKind.MALFORMED_OUTPUT),
        (("a", NO, ErrorKind.BAD_REQUEST), ErrorKind.BAD_REQUEST),
    ],
)
def test_a_call_that_fails_for_good_fails_the_step(outputs: Any, kind: ErrorKind) -> None:
    world = ran(refine(), *outputs)
    assert (world.outcome("j").status, world.outcome("j").reason) == (JobStatus.FAILED, kind)


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (refine(evaluate={**EVALUATE, "prompt": "{{ feedback }}"}), "unknown reference 'feedback'"),
        (refine(evaluate={**EVALUATE, "output": {}}), "leave output out"),
        (refine(generate={**GENERATE, "pool": "smal"}), "steps.s.refine.generate.pool: unknown pool 'smal'"),
        (refine(max_rounds=0), "steps.s.refine.max_rounds"),
        (refine(rounds=2), "unknown key 'rounds' (did you mean 'max_rounds'?)"),
        ({"refine": {"generate": GENERATE}}, "'evaluate' is missing"),
        ({**refine(), "llm": GENERATE}, "refine and llm do not go together"),
        ({**refine(), "fan_in": 3}, "with and fan_in belong to reduce"),
    ],
)
def test_a_refinement_that_does_not_hold_is_refused_with_the_reason(step: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(step), pools=POOLS)
    assert part in str(caught.value)

"""A step whose condition does not hold is skipped: it makes no task, and is null to those who name it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import events, workflow
from tests.world import POOLS, World

LLM = {"pool": "small", "prompt": "{{ input.word }}"}
EACH = {"for_each": "{{ input.words }}", "llm": {"pool": "small", "prompt": "{{ item }}"}}


def ran(step: dict[str, Any], output: Any = "{{ s }}", **steps: Any) -> World:
    world = World()
    world.submit("j", workflow(step, output, **steps), {"word": "hi", "words": ["a", "b"]}, labels={"tier": "gold"})
    world.run()
    return world


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("{{ input.word == 'hi' }}", True),
        ("{{ input.words | length > 2 }}", False),
        ("{{ job.labels.tier == 'gold' and job.lane == 'batch' }}", True),
        ("{{ job.labels.get('plan') }}", False),
        ("{{ [] }}", False),
        ("{{ 0 }}", False),
    ],
)
def test_a_step_runs_where_its_condition_holds(condition: str, runs: bool) -> None:
    world = ran({"llm": LLM, "when": condition})
    assert world.outcome("j").output == ("hi" if runs else None)
    assert len(world.dispatched) == runs
    assert (events(world, "step.skipped") == []) == runs
    assert world.outcome("j").receipt.steps["s"].skipped is not runs
    assert not world.outcome("j").partial


def test_steps_that_name_a_skipped_one_see_null() -> None:
    other = {"llm": {"pool": "small", "prompt": "{{ 'none' if s is none else s }}"}}
    assert ran({"llm": LLM, "when": "{{ false }}"}, "{{ other }}", other=other).outcome("j").output == "none"


def test_a_skipped_list_has_no_items() -> None:
    more = {
        "again": {"for_each": "s", "llm": {"pool": "small", "prompt": "{{ item }}"}},
        "count": {"reduce": "s", "with": "count"},
        "tree": {"reduce": "s", "llm": {"pool": "small", "prompt": "{{ items }}"}},
    }
    outcome = ran({**EACH, "when": "{{ false }}"}, ["{{ again }}", "{{ count }}", "{{ tree }}"], **more).outcome("j")
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, [[], 0, None])


def test_a_condition_over_a_fan_out_waits_for_all_of_it() -> None:
    second = {"for_each": "s", "llm": {"pool": "small", "prompt": "{{ item }}"}, "when": "{{ s | length == 2 }}"}
    assert ran(EACH, "{{ second }}", second=second).outcome("j").output == ["a", "b"]


def test_a_split_can_be_skipped() -> None:
    step = {"split": {"from": "a b", "by": "characters", "size": 1}, "when": "{{ input.word == 'no' }}"}
    assert ran(step).outcome("j").output is None


def test_a_condition_that_cannot_be_evaluated_fails_the_job() -> None:
    outcome = ran({"llm": LLM, "when": "{{ input.nothing }}"}).outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INVALID_INPUT)
    assert "there is no field 'nothing'" in outcome.message


@pytest.mark.parametrize(
    "condition", ["{{ range(90000) | list | length > 1 }}", "{{ (input.words * 50000) | join | length > 1 }}"]
)
def test_a_condition_that_works_too_hard_fails_the_job_and_stops_nothing(condition: str) -> None:
    outcome = ran({"llm": LLM, "when": condition}).outcome("j")
    assert outcome.status is JobStatus.FAILED
    assert outcome.reason in (ErrorKind.TOO_LARGE, ErrorKind.INVALID_INPUT)


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ("yes", "one expression in {{ }} is needed"),
        ("{{ input.a }} and {{ input.b }}", "one expression"),
        ("{{ inptu.a }}", "unknown reference 'inptu' (did you mean 'input'?)"),
        ("{{ s }}", "a cycle: s needs s"),
        ("{{ ", "the template does not hold"),
    ],
)
def test_a_condition_that_does_not_hold_together_is_a_problem(condition: str, part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow({"llm": LLM, "when": condition}), pools=POOLS)
    assert part in str(caught.value)

"""A hostile workflow takes time from its own job: no event of it may keep the loop for long."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from headrace.orchestrator.core.events import DispatchGranted
from headrace.orchestrator.core.state import JobHeader
from headrace.orchestrator.core.templates import RenderError, evaluate_structure, render
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import JobStatus
from tests.instance import Instance
from tests.unit.orchestrator.test_decider import submit
from tests.world import World

SPIN = "{% for a in range(9999) %}{% for b in range(24) %}{% endfor %}{% endfor %}"
"""Just within what one rendering may do."""


def llm(prompt: str) -> dict[str, Any]:
    return {"llm": {"pool": "small", "prompt": prompt}}


def fan(prompt: str) -> dict[str, Any]:
    return {"name": "w", "version": 1, "steps": {"a": {"for_each": "{{ input['items'] }}", **llm(prompt)}}}


def test_a_grant_of_costly_prompts_is_cut_and_the_rest_goes_out_with_the_next_ones() -> None:
    world = World()
    world.submit("a", fan(SPIN + "{{ item }}"), {"items": list(range(8))})
    decision = world.take("a", DispatchGranted("a", 8))
    header = decision.changes["job/a"]
    assert isinstance(header, JobHeader)
    assert 1 <= header.step("a").next <= 2
    world.deal()
    assert len(world.tasks) == 8


def test_dealing_ends_soon_and_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.orchestrator.shell.decider.DECIDE_S", 0.0)
    made = Instance(replace(World().environment, objects=False))
    submit(made, workflow=fan(SPIN + "{{ item }}"), input={"items": list(range(8))})
    assert 1 <= len(made.tasks) <= 2
    assert made.deal()
    assert 2 <= len(made.tasks) <= 4


def test_messages_of_one_task_share_what_a_task_may_do() -> None:
    messages = [{"role": "user", "content": SPIN}] * 50
    workflow = {"name": "w", "version": 1, "steps": {"a": {"llm": {"pool": "small", "messages": messages}}}}
    world = World()
    world.submit("a", workflow, {})
    began = time.perf_counter()
    world.run()
    assert time.perf_counter() - began < 30
    outcome = world.outcome("a")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.TOO_LARGE)


def test_an_output_of_hundreds_of_costly_templates_fails_the_job() -> None:
    workflow = {"name": "w", "version": 1, "steps": {"a": llm("x")}, "output": [SPIN] * 400}
    world = World()
    world.submit("a", workflow, {})
    began = time.perf_counter()
    world.run()
    assert time.perf_counter() - began < 30
    assert (world.outcome("a").status, world.outcome("a").reason) == (JobStatus.FAILED, ErrorKind.TOO_LARGE)


def test_a_hundred_steps_with_costly_sources_fail_the_job() -> None:
    steps = {f"s{n}": {"split": {"from": SPIN + "x", "by": "lines", "size": 1}} for n in range(100)}
    world = World()
    began = time.perf_counter()
    world.submit("a", {"name": "w", "version": 1, "steps": steps}, {})
    assert time.perf_counter() - began < 30
    assert (world.outcome("a").status, world.outcome("a").reason) == (JobStatus.FAILED, ErrorKind.TOO_LARGE)


def test_a_structure_of_many_small_templates_is_evaluated() -> None:
    assert evaluate_structure({f"k{n}": "{{ x }}" for n in range(2_000)}, {"x": 1})["k7"] == 1


NESTED = [[[number] for number in range(50_000)]]
SAME = [[[number] for number in range(50_000)]]
COMPARISONS = [
    "{% if x == y %}{% endif %}", "{% if x < y %}{% endif %}", "{% if y in z %}{% endif %}",
    "{% if x is eq(y) %}{% endif %}", "{% if x is lt y %}{% endif %}", "{% set a = z.count(y) %}",
    "{% set a = z.index(x) %}", "{% set a = z | select('equalto', y) | list %}", "{% set a = z | sort %}",
    "{% set a = z | max %}", "{% if d == e %}{% endif %}",
]  # fmt: skip


@pytest.mark.parametrize("body", COMPARISONS)
def test_comparing_lists_within_lists_is_paid_for(body: str) -> None:
    context = {
        "x": NESTED, "y": SAME, "z": [NESTED, SAME], "d": {"a": dict.fromkeys(map(str, range(9_000)), 1)},
        "e": {"a": dict.fromkeys(map(str, range(9_000)), 1)},
    }  # fmt: skip
    began = time.perf_counter()
    with pytest.raises(RenderError, match="steps of work"):
        render(f"{{% for i in range(9999) %}}{body}{{% endfor %}}", context)
    assert time.perf_counter() - began < 5

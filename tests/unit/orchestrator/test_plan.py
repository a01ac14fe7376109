"""A model plans, within what is allowed; what it planned is done in the order of its needs."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import by_index, events, text, workflow
from tests.world import POOLS, World

ARGS = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
ALLOWED = {
    "search": {"description": "looks up", "args": ARGS, "llm": {"pool": "small", "prompt": "search {{ args.q }}"}},
    "write": {"llm": {"pool": "large", "prompt": "{{ index }}: {{ args.instructions }} of {{ needs }}"}},
}
BAD: Any = ErrorKind.MALFORMED_OUTPUT


def plan(**fields: Any) -> dict[str, Any]:
    prompt = "{% for n, what in allowed.items() %}{{ n }}={{ what }} {% endfor %}{{ input.q }}, {{ max_tasks }}"
    return {"plan": {"pool": "large", "prompt": prompt, "allowed": ALLOWED, **fields}}


def search(q: Any, *needs: Any) -> dict[str, Any]:
    return {"name": "search", "args": {"q": q}, "needs": list(needs)}


def write(*needs: Any) -> dict[str, Any]:
    return {"name": "write", "args": {"instructions": "sum"}, "needs": list(needs)}


def ran(step: dict[str, Any], *outputs: Any, **fields: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"q": "why?"}, **fields)
    world.run(by_index(*outputs))
    return world


def tasks(*listed: Any) -> dict[str, Any]:
    return {"tasks": list(listed)}


def test_a_plan_is_done_in_the_order_of_its_needs() -> None:
    made = tasks(search("a"), search("b"), write(1, 0), search("c", 2))
    world = ran(plan(), made, "A", "B", "AB", "C")
    assert text(world.dispatched[0]) == "search=looks up write= why?, 16"
    asked = [(task.pool, text(task)) for task in world.dispatched[1:]]
    assert asked[:2] == [("small", "search a"), ("small", "search b")]
    assert asked[2:] == [("large", '2: sum of ["B", "A"]'), ("small", "search c")]
    outcome = world.outcome("j")
    assert [each["output"] for each in outcome.output] == ["A", "B", "AB", "C"]
    assert outcome.output[0] == {"name": "search", "args": {"q": "a"}, "output": "A"}
    assert events(world, "plan.made") == [{"tasks": made["tasks"], "count": 4, "repaired": False}]
    pattern = outcome.receipt.steps["s"].pattern
    assert pattern is not None
    assert pattern.planned == 4


def test_tasks_that_need_nothing_of_each_other_go_out_side_by_side() -> None:
    world = World()
    world.submit("j", workflow(plan()), {"q": "why?"})
    world.deal()
    world.result(by_index(tasks(search("a"), search("b"), write(0)))(world.tasks.pop()))
    world.deal()
    assert [task.task_id for task in world.tasks] == ["j/s/1", "j/s/2"]


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (BAD, "no"),
        (tasks({"name": "delete", "args": {}, "needs": []}), "task 0: its name is none of search, write"),
        (tasks(search(7)), "task 0: args: q: the value is not of type"),
        (tasks(write(0)), "task 0: needs are numbers of earlier tasks"),
        (tasks(search("a"), write(True)), "task 1: needs are numbers of earlier tasks"),
        (tasks(*[search("a")] * 4), "it has 4 tasks, at most 3 are allowed"),
        (tasks(search("a"), write(0), write(1)), "task 2: it ends a chain of 3 tasks"),
        ([], "it has no list of tasks"),
        (tasks(None), "task 0: its name is none of"),
    ],
)
def test_a_plan_that_does_not_hold_is_repaired_once_and_then_fails(made: Any, problem: str) -> None:
    step = plan(max_tasks=3, max_depth=2)
    world = ran(step, made, tasks(search("a")), "A")
    assert world.outcome("j").output == [{"name": "search", "args": {"q": "a"}, "output": "A"}]
    (refused,) = events(world, "plan.refused")
    assert problem in refused["problem"]
    assert events(world, "plan.made")[0]["repaired"] is True
    again = text(world.dispatched[1])
    assert problem.split(":", maxsplit=1)[0] in again
    assert ("Your plan was: " in again) == (made is not BAD)
    world = ran(step, made, made)
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.MALFORMED_OUTPUT)
    assert "the plan does not hold, nor did the one before it" in outcome.message
    assert len(world.dispatched) == 2


def test_a_planner_that_fails_otherwise_fails_the_step_and_so_does_a_planned_task() -> None:
    assert ran(plan(), ErrorKind.BAD_REQUEST).outcome("j").reason is ErrorKind.BAD_REQUEST
    world = ran(plan(), tasks(search("a"), search("b"), write(0)), ErrorKind.BAD_REQUEST, "B")
    outcome = world.outcome("j")
    assert outcome.reason is ErrorKind.BAD_REQUEST
    assert "planned task 0 (search) failed" in outcome.message
    assert len(world.dispatched) == 3
    world = ran({**plan(), "on_error": {"default": []}}, tasks(search("a")), ErrorKind.BAD_REQUEST)
    assert (world.outcome("j").output, world.outcome("j").partial) == ([], True)


def test_a_plan_may_be_empty() -> None:
    world = ran(plan(), tasks())
    assert world.outcome("j").output == []
    assert events(world, "plan.made") == [{"tasks": [], "count": 0, "repaired": False}]


def test_what_is_confidential_or_large_does_not_stand_in_the_event() -> None:
    for made, fields in (
        (tasks(search("a")), {"sensitivity": "confidential"}),
        (tasks(search("x" * 9_000)), {}),
    ):
        world = ran(plan(), made, "A", **fields)
        assert events(world, "plan.made")[0]["tasks"] == [{"name": "search", "needs": []}]


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        (plan(output={}), "steps.s.plan.output", "leave output out"),
        (plan(allowed={}), "steps.s.plan.allowed", "at least 1"),
        (plan(max_tasks=65), "steps.s.plan.max_tasks", "less than or equal to 64"),
        (plan(allowed={"a": {"workflow": {}}}), "steps.s.plan.allowed.a.workflow", "not yet"),
        (plan(allowed={"a": {"description": "x"}}), "steps.s.plan.allowed.a", "needs llm or tool"),
        (plan(allowed={"a": {**ALLOWED["search"], "tool": {"name": "t"}}}), "steps.s.plan.allowed.a",
         "not go together"),
        (plan(allowed={"a": {"tool": {"name": "t", "arguments": {"x": "{{ arg }}"}}}}),
         "steps.s.plan.allowed.a.tool.arguments.x", "did you mean 'args'?"),
        (plan(allowed={"a": {"llm": {"pool": "smal", "prompt": "x"}}}), "steps.s.plan.allowed.a.llm.pool", "'small'"),
        (plan(allowed={"a": {"llm": {"pool": "small", "prompt": "{{ arg }}"}}}), "steps.s.plan.allowed.a.llm.prompt",
         "did you mean 'args'?"),
        (plan(allowed={"a": {**ALLOWED["search"], "args": {"type": "x"}}}), "steps.s.plan.allowed.a.args", "not a"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_found_when_the_workflow_is_checked(step: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(step), pools=POOLS)
    assert path in [problem.path for problem in caught.value.problems if said in problem.message]


def test_a_budget_needs_a_bound_on_every_call_that_may_be_planned() -> None:
    world = World()
    world.submit("j", workflow(plan(max_output_tokens=5)), {"q": "x"}, budget={"tokens": 500})
    assert "max_output_tokens on every call" in world.outcome("j").message

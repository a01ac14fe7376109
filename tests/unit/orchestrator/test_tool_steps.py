"""A step calls a tool: arguments are checked before anything is sent, and what may have been done is not done again."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetTaskAside
from headrace.orchestrator.core.events import TaskLost
from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from headrace.schemas.pools import PoolsFile
from tests.answers import workflow
from tests.world import POOLS, World

FILE = PoolsFile.model_validate(
    {
        "tools": {
            "send_email": {
                "kind": "http",
                "method": "POST",
                "url": "https://mail.example.org/send",
                "price_microusd": 40,
                "arguments": {
                    "type": "object",
                    "properties": {"to": {"type": "string"}, "tries": {"type": "integer"}},
                    "required": ["to"],
                    "additionalProperties": False,
                },
            },
            "charge": {"kind": "http", "method": "POST", "url": "https://pay.example.org/charge", "idempotent": True},
            "look_up": {
                "kind": "http",
                "url": "https://crm.example.org/{id}",
                "public": False,
                "timeout_s": 3,
                "arguments": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
            },
        }
    }
)
SEND = {"tool": {"name": "send_email", "arguments": {"to": "{{ input.to }}", "tries": "{{ input.tries }}"}}}


def world(step: dict[str, Any], output: Any = "{{ s }}", value: Any = None, **fields: Any) -> World:
    made = World(pools={**POOLS, **FILE.pools}, tools=FILE.tools, public_pools=("small",))
    made.submit("j", workflow(step, output), value or {"to": "ann", "tries": 2}, **fields)
    return made


def done(task: Task, output: Any = "ok", **fields: Any) -> Result:
    made = Result(task_id=task.task_id, job_id=task.job_id, attempt=task.attempt, output=output, cost_microusd=40)
    return made.model_copy(update=fields)


def failed(task: Task, kind: ErrorKind, *, unconfirmed: bool) -> Result:
    failure = Failure(kind=kind, message="no")
    return done(task, None, failure=failure, unconfirmed=unconfirmed, cost_microusd=0)


def test_arguments_are_rendered_as_they_are_structured_and_go_to_the_tools_pool() -> None:
    made = world(SEND)
    made.run(done)
    (task,) = made.dispatched
    assert (task.pool, task.call, task.timeout_ms) == ("tool-http", None, 60_000)
    assert task.tool is not None
    assert (task.tool.tool, task.tool.arguments) == ("send_email", {"to": "ann", "tries": 2})
    assert (made.outcome("j").output, made.outcome("j").receipt.cost_microusd) == ("ok", 40)


def test_a_tool_is_called_for_each_item_in_the_order_of_items() -> None:
    each = {"for_each": "{{ input.ids }}", "tool": {"name": "look_up", "arguments": {"id": "{{ item }}-{{ index }}"}}}
    made = world(each, value={"ids": ["a", "b"]})
    made.run(lambda task: done(task, task.tool.arguments["id"] if task.tool else None))
    assert made.outcome("j").output == ["a-0", "b-1"]
    assert made.dispatched[0].timeout_ms == 3_000


@pytest.mark.parametrize("value", [{"to": 7, "tries": 1}, {"to": "ann", "tries": "two"}])
def test_arguments_that_do_not_hold_fail_before_anything_is_sent(value: dict[str, Any]) -> None:
    made = world(SEND, value=value)
    made.run(done)
    assert (made.outcome("j").reason, made.dispatched) == (ErrorKind.INVALID_INPUT, [])
    assert "the arguments of send_email do not hold" in made.outcome("j").message


@pytest.mark.parametrize("kind", [ErrorKind.TIMEOUT, ErrorKind.NETWORK, ErrorKind.SERVER_ERROR, ErrorKind.INTERRUPTED])
def test_what_may_have_been_done_is_not_done_again_unless_the_tool_is_idempotent(kind: ErrorKind) -> None:
    made = world({**SEND, "retry": {"attempts": 5}})
    made.run(lambda task: failed(task, kind, unconfirmed=True))
    outcome = made.outcome("j")
    assert (outcome.status, outcome.reason, len(made.dispatched)) == (JobStatus.FAILED, kind, 1)
    assert "nobody knows whether send_email did it" in outcome.message
    assert [effect.task.tool for effect in made.effects if isinstance(effect, SetTaskAside)] == [
        made.dispatched[0].tool
    ]
    again = world({"tool": {"name": "charge", "arguments": {}}, "retry": {"attempts": 5}})
    again.run(lambda task: failed(task, kind, unconfirmed=True) if task.attempt == 1 else done(task))
    assert (again.outcome("j").output, len(again.dispatched)) == ("ok", 2)


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, ErrorKind.NETWORK, ErrorKind.INTERRUPTED])
def test_what_was_surely_not_done_is_tried_again(kind: ErrorKind) -> None:
    made = world({**SEND, "retry": {"attempts": 2, "backoff_ms": 1}})
    made.run(lambda task: failed(task, kind, unconfirmed=False) if task.attempt == 1 else done(task))
    assert (made.outcome("j").output, len(made.dispatched)) == ("ok", 2)


def test_a_call_that_was_lost_may_have_been_made() -> None:
    made = world(SEND)
    made.deal()
    made.take("j", TaskLost("j/s/0", 1, "lost", 0.0))
    assert (made.outcome("j").reason, len(made.dispatched)) == (ErrorKind.INTERRUPTED, 1)


def test_a_price_is_reserved_and_a_budget_holds() -> None:
    made = world(SEND, budget={"microusd": 39})
    made.run(done)
    assert (made.outcome("j").reason, made.dispatched) == (ErrorKind.BUDGET_EXCEEDED, [])
    made = world(SEND, budget={"microusd": 40})
    made.run(done)
    assert made.outcome("j").status is JobStatus.SUCCEEDED


def test_a_confidential_job_is_no_business_of_a_public_tool() -> None:
    assert "s (tool send_email)" in world(SEND, sensitivity="confidential").outcome("j").message
    made = world({"tool": {"name": "look_up", "arguments": {"id": "x"}}}, sensitivity="confidential")
    made.run(done)
    assert made.outcome("j").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ({"tool": {"name": "send_emial"}}, "steps.s.tool.name: unknown tool 'send_emial' (did you mean 'send_email'?)"),
        ({"tool": {"name": "send_email", "arguments": {"to": "x", "tris": 1}}}, "no argument 'tris' (did you mean"),
        ({"tool": {"name": "send_email"}}, "tool send_email needs the argument 'to'"),
        ({"tool": {"name": "look_up", "arguments": {"id": "{{ item }}"}}}, "'item' is known in the templates"),
        ({"tool": {"name": "look_up", "arguments": {"id": "{{ inptu }}"}}}, "steps.s.tool.arguments.id: unknown ref"),
        ({**SEND, "llm": {"pool": "small", "prompt": "x"}}, "do not go together"),
        ({**SEND, "reduce": "{{ input.x }}"}, "do not go together"),
        ({"tool": {"nam": "x"}}, "'name' is missing"),
    ],
)
def test_a_call_that_does_not_hold_is_refused_with_the_reason(step: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(step), pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    assert part in str(caught.value)


def test_a_branch_of_a_route_may_be_a_tool() -> None:
    send = {"tool": {"name": "send_email", "arguments": {"to": "{{ input.to }}"}}}
    route = {
        "rules": [{"when": "{{ input.tries > 1 }}", "to": "mail"}],
        "otherwise": "ask",
        "to": {"mail": send, "ask": {}},
    }
    made = world({"route": route}, budget={"microusd": 40})
    made.run(lambda task: done(task, "sent"))
    (task,) = made.dispatched
    assert task.tool is not None
    assert (task.pool, task.tool.arguments) == ("tool-http", {"to": "ann"})
    outcome = made.outcome("j")
    assert (outcome.output, outcome.receipt.steps["s"].pattern.to) == ("sent", "mail")  # type: ignore[union-attr]
    assert "s (tool send_email)" in world({"route": route}, sensitivity="confidential").outcome("j").message


def test_a_planned_task_may_be_a_tool_with_arguments_that_the_model_chose() -> None:
    args = {
        "type": "object",
        "properties": {"id": {"type": "string"}},
        "required": ["id"],
        "additionalProperties": False,
    }
    look = {"tool": {"name": "look_up", "arguments": {"id": "{{ args.id }}"}}, "args": args}
    plan = {"pool": "small", "prompt": "x", "max_output_tokens": 9, "allowed": {"look": look}}
    made = world({"plan": plan})
    listed = {"tasks": [{"name": "look", "args": {"id": name}, "needs": []} for name in "ab"]}
    made.run(lambda task: done(task, listed if task.call else {"found": task.tool.arguments["id"]}))  # type: ignore[union-attr]
    assert [each["output"] for each in made.outcome("j").output] == [{"found": "a"}, {"found": "b"}]

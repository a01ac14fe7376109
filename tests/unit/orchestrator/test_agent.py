"""A model calls tools in a loop: listed ones only, each call a task, within bounds; what cannot be is told to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetAside, SetTaskAside
from headrace.orchestrator.core.events import CancelRequested, TaskLost, TaskRedriven
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.view import Limits
from headrace.runtime.turns import turn
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import Failure, JobStatus, PatternReceipt, Result, Task, ToolUse
from headrace.schemas.pools import PoolsFile
from tests.answers import events, workflow
from tests.world import POOLS, World

QUERY = {
    "type": "object",
    "properties": {"q": {"type": "string"}},
    "required": ["q"],
    "additionalProperties": False,
}
FILE = PoolsFile.model_validate(
    {
        "tools": {
            "search": {"kind": "noop", "description": "looks things up", "arguments": QUERY},
            "read": {"kind": "python", "function": "m:f", "side_effect": False, "public": False, "price_microusd": 7},
            "send": {"kind": "http", "method": "POST", "url": "https://x.example.org/"},
            "drop": {"kind": "noop", "description": "never listed"},
        }
    }
)
Said = dict[str, Any] | ErrorKind
"""A turn, or how the call fails."""


def agent(**fields: Any) -> dict[str, Any]:
    listed = {"pool": "small", "system": "Be brief.", "prompt": "{{ input.q }}", "tools": ["search", "read"]}
    return {"agent": {**listed, **fields}, "retry": {"attempts": 2, "backoff_ms": 10}}


def asks(*uses: tuple[str, str], text: str = "") -> dict[str, Any]:
    return turn(text, [ToolUse(name=name, arguments=arguments) for name, arguments in uses])


def searches(*questions: str) -> dict[str, Any]:
    return asks(*(("search", f'{{"q": "{question}"}}') for question in questions))


class Script:
    """What the model says, turn by turn, and what the tools answer."""

    def __init__(self, *turns: Any, tools: Callable[[Task], Any] | None = None) -> None:
        self._turns = list(turns)
        self._tools = tools or (lambda task: task.tool.arguments if task.tool else None)

    def __call__(self, task: Task) -> Result:
        output = self._turns.pop(0) if task.call is not None else self._tools(task)
        failure = Failure(kind=output, message="no") if isinstance(output, ErrorKind) else None
        return Result(
            task_id=task.task_id,
            job_id=task.job_id,
            attempt=task.attempt,
            output=None if failure else output,
            failure=failure,
        )


def made(step: dict[str, Any] | None = None, question: str = "why?", **fields: Any) -> World:
    limits = fields.pop("limits", Limits())
    world = World(pools={**POOLS, **FILE.pools}, tools=FILE.tools, limits=limits)
    world.submit("j", workflow(step or agent()), {"q": question}, **fields)
    return world


def ran(step: dict[str, Any], *turns: Any, tools: Callable[[Task], Any] | None = None, **fields: Any) -> World:
    world = made(step, **fields)
    world.run(Script(*turns, tools=tools))
    return world


def pattern(world: World) -> PatternReceipt:
    found = world.outcome("j").receipt.steps["s"].pattern
    assert found is not None
    return found


def asked(world: World) -> list[Task]:
    return [task for task in world.dispatched if task.call is not None]


def called(world: World) -> list[tuple[str, dict[str, Any]]]:
    return [(task.tool.tool, task.tool.arguments) for task in world.dispatched if task.tool is not None]


def told(task: Task) -> list[str]:
    """Return what the last turn's calls came to, as the model is told."""
    assert task.call is not None
    found: list[str] = []
    for message in reversed(task.call.messages):
        if message.role != "tool":
            break
        found.insert(0, message.content)
    return found


def test_a_model_calls_tools_until_it_has_its_answer() -> None:
    world = ran(agent(), searches("a", "b"), asks(("read", '{"n": 1}'), text="I look."), turn("because"))
    assert world.outcome("j").output == "because"
    assert called(world) == [("search", {"q": "a"}), ("search", {"q": "b"}), ("read", {"n": 1})]
    assert [task.task_id for task in world.dispatched] == [f"j/s/{number}" for number in range(6)]
    assert pattern(world) == PatternReceipt(turns=3, tool_calls=3)
    assert events(world, "agent.answered") == [{"turns": 3, "tool_calls": 3, "refused": 0}]
    call = asked(world)[2].call
    assert call is not None
    assert [(each.role, each.content) for each in call.messages] == [
        ("system", "Be brief."),
        ("user", "why?"),
        ("assistant", ""),
        ("tool", '{"q": "a"}'),
        ("tool", '{"q": "b"}'),
        ("assistant", "I look."),
        ("tool", '{"n": 1}'),
    ]
    ids = [use.id for message in call.messages for use in message.tool_calls]
    assert ids == ["call00000", "call00001", "call00002"]
    assert [message.tool_call_id for message in call.messages if message.role == "tool"] == ids


def test_only_the_listed_tools_are_in_the_prompt() -> None:
    world = ran(agent(tools=["search"]), turn("x"))
    call = asked(world)[0].call
    assert call is not None
    assert [(tool.name, tool.description, tool.arguments) for tool in call.tools] == [
        ("search", "looks things up", QUERY)
    ]
    assert "never listed" not in asked(world)[0].model_dump_json()


def test_calls_of_one_turn_go_out_side_by_side() -> None:
    world = made()
    world.deal()
    world.result(Script(searches("a", "b", "c"))(world.tasks.pop()))
    world.deal()
    assert [task.task_id for task in world.tasks] == ["j/s/1", "j/s/2", "j/s/3"]


def test_a_call_of_a_tool_that_is_not_listed_is_refused_told_and_reported() -> None:
    world = ran(agent(), asks(("drop", '{"q": "a"}'), ("search", '{"q": "a"}')), turn("x"))
    assert called(world) == [("search", {"q": "a"})]
    assert told(asked(world)[1]) == ["refused: there is no tool drop here; there are: search, read", '{"q": "a"}']
    refused = {"turn": 1, "calls": [{"tool": "drop", "reason": "unlisted"}]}
    assert events(world, "agent.refused") == [refused]
    assert pattern(world) == PatternReceipt(turns=2, tool_calls=1, refused_calls=1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"q": 7}', "the arguments do not hold: q: the value is not of type"),
        ("{}", "the arguments do not hold: "),
        ('{"q": "a", "x": 1}', "the arguments do not hold: "),
        ("nonsense", "the arguments cannot be read: they are no JSON"),
        ("[1]", "the arguments cannot be read: a JSON object is needed"),
        ('{"q": NaN}', "the arguments cannot be read: q: a number that is not finite"),
        ('{"q": "\\ud800"}', "the arguments cannot be read: q: a text with a lone surrogate"),
        ("[" * 5_000, "the arguments cannot be read: they are no JSON"),
        ('{"q": "' + "a" * 70_000 + '"}', "the arguments cannot be read: they have 70,009 characters"),
    ],
)
def test_arguments_that_do_not_hold_are_told_to_the_model_and_make_no_task(arguments: str, problem: str) -> None:
    world = ran(agent(), asks(("search", arguments)), turn("x"))
    assert world.outcome("j").status is JobStatus.SUCCEEDED
    assert called(world) == []
    (said,) = told(asked(world)[1])
    assert said.startswith(f"refused: {problem}")
    assert len(said) < 600
    assert events(world, "agent.refused") == [{"turn": 1, "calls": [{"tool": "search", "reason": "arguments"}]}]


def test_a_tool_that_fails_for_good_is_told_to_the_model_after_its_retries() -> None:
    failing = ran(agent(), searches("a"), turn("x"), tools=lambda _task: ErrorKind.OVERLOADED)
    assert told(asked(failing)[1]) == ["failed: overloaded: no"]
    assert len(called(failing)) == 2
    assert failing.outcome("j").status is JobStatus.SUCCEEDED
    assert not [each for each in failing.effects if isinstance(each, SetTaskAside)]


def test_a_call_that_may_have_been_made_and_must_not_be_made_twice_fails_the_step() -> None:
    def unknown(task: Task) -> ErrorKind:
        del task
        return ErrorKind.TIMEOUT

    world = ran(agent(tools=["send"]), asks(("send", "{}")), turn("x"), tools=unknown)
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.TIMEOUT)
    assert "tool send failed, and may have done what it was asked" in outcome.message
    refused = ran(agent(tools=["send"]), asks(("send", "{}")), turn("x"), tools=lambda _task: ErrorKind.BAD_REQUEST)
    assert refused.outcome("j").output == "x"


def test_the_last_turn_is_to_answer_and_fails_the_step_where_it_does_not() -> None:
    world = ran(agent(max_turns=2), searches("a"), searches("b"))
    choices = [task.call.tool_choice for task in asked(world) if task.call]
    assert choices == ["auto", "none"]
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.MALFORMED_OUTPUT)
    assert "asked for tools in its last turn" in outcome.message
    assert pattern(world) == PatternReceipt(turns=2, tool_calls=1)
    saved = ran({**agent(max_turns=2), "on_error": {"default": "?"}}, searches("a"), searches("b"))
    assert (saved.outcome("j").output, saved.outcome("j").partial) == ("?", True)


def test_calls_beyond_the_bounds_are_not_made_and_the_model_is_told() -> None:
    world = ran(agent(max_parallel=2, max_calls=3), searches("a", "b", "c"), searches("d", "e"), turn("x"))
    assert called(world) == [("search", {"q": "a"}), ("search", {"q": "b"}), ("search", {"q": "d"})]
    assert told(asked(world)[1])[2] == "refused: at most 2 calls a turn are made; ask for the others again"
    assert told(asked(world)[2])[1] == "refused: no calls are left; answer with what there is"
    assert [task.call.tool_choice for task in asked(world) if task.call] == ["auto", "auto", "none"]
    assert pattern(world) == PatternReceipt(turns=3, tool_calls=3, refused_calls=2)


def test_a_call_that_is_refused_takes_no_place_of_one_that_may_be_made() -> None:
    search = ("search", '{"q": "a"}')
    world = ran(agent(max_calls=1), asks(("drop", "{}"), ("search", "{}"), search), turn("x"))
    assert called(world) == [("search", {"q": "a"})]
    assert pattern(world) == PatternReceipt(turns=2, tool_calls=1, refused_calls=2)


def test_a_long_answer_of_a_tool_is_cut_and_says_so() -> None:
    world = ran(agent(answer_characters=100), searches("a"), turn("x"), tools=lambda _task: "z" * 1_234)
    (said,) = told(asked(world)[1])
    assert said == "z" * 100 + "\n[cut: these are the first 100 of 1,234 characters]"


def test_a_large_answer_of_a_tool_is_read_from_the_store_once() -> None:
    limits = Limits(inline_bytes=1_000, item_inline_bytes=1_000)
    long = {"text": "z" * 5_000}
    world = ran(
        agent(answer_characters=200), searches("a"), searches("b"), turn("x"), tools=lambda _: long, limits=limits
    )
    assert world.outcome("j").output == "x"
    assert told(asked(world)[2])[0].startswith('{"text": "zzz')
    assert len(world.loaded) <= 2


def test_a_models_arguments_are_no_templates() -> None:
    world = ran(agent(), searches("{{ input.q }}"), turn("{{ input.q }}"))
    assert called(world) == [("search", {"q": "{{ input.q }}"})]
    assert world.outcome("j").output == "{{ input.q }}"
    assert told(asked(world)[1]) == ['{"q": "{{ input.q }}"}']


def test_a_name_that_no_provider_would_take_back_is_written_so_that_one_does() -> None:
    world = ran(agent(), asks(("rm -rf /" + "x" * 100, "{not json")), turn("x"))
    call = asked(world)[1].call
    assert call is not None
    (use,) = call.messages[2].tool_calls
    assert use.name == ("rm_-rf__" + "x" * 100)[:64]
    assert use.arguments == "{}"


def test_what_a_model_makes_up_stands_in_no_event_of_a_confidential_job() -> None:
    step = agent(tools=["search"])
    world = ran(step, asks(("secret-7", "{}"), ("search", "{}")), turn("x"), sensitivity="confidential")
    calls = [{"tool": "", "reason": "unlisted"}, {"tool": "search", "reason": "arguments"}]
    assert events(world, "agent.refused") == [{"turn": 1, "calls": calls}]
    refused = made(agent(tools=["search", "send"]), sensitivity="confidential").outcome("j")
    assert refused.status is JobStatus.REJECTED
    assert "s (tool send)" in refused.message


@pytest.mark.parametrize(
    "output",
    [
        "text",
        None,
        7,
        [],
        {},
        {"content": "x"},
        {"tool_calls": []},
        {"content": "x", "tool_calls": {}},
        {"content": "x", "tool_calls": [7]},
        {"content": "x", "tool_calls": [{"name": 7, "arguments": "{}"}]},
        {"content": "x", "tool_calls": [{"name": "search", "arguments": {"q": "a"}}]},
    ],
)
def test_an_output_that_is_no_turn_fails_the_step(output: Any) -> None:
    outcome = ran(agent(), output).outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.MALFORMED_OUTPUT)


def test_of_a_thousand_calls_in_one_turn_few_are_looked_at() -> None:
    world = ran(agent(), searches(*["a"] * 1_000), turn("x"))
    assert len(called(world)) == 8
    assert len(told(asked(world)[1])) == 64


def test_a_turn_that_fails_for_good_fails_the_step() -> None:
    world = ran(agent(), searches("a"), ErrorKind.BAD_REQUEST)
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.BAD_REQUEST)
    assert pattern(world) == PatternReceipt(turns=2, tool_calls=1)
    assert [each.reason for each in world.effects if isinstance(each, SetTaskAside)] == ["exhausted"]


def test_a_turn_or_a_call_that_is_lost_is_made_again_and_the_conversation_stays() -> None:
    world = made()
    script = Script(searches("a"), searches("b"), turn("x"))
    for _ in range(40):
        world.deal()
        if not world.tasks:
            break
        task = world.tasks.pop(0)
        if task.attempt == 1:
            world.take("j", TaskLost(task.task_id, task.attempt, "lost", 0.0))
            world._fire_next_timer()
        else:
            world.result(script(task))
        world.memos.clear()
    assert world.outcome("j").output == "x"
    prompts = {(task.task_id, task.call.model_dump_json()) for task in asked(world) if task.call}
    assert len(prompts) == 3


def test_a_cancelled_job_makes_no_further_turn() -> None:
    world = made()
    world.deal()
    world.result(Script(searches("a"))(world.tasks.pop()))
    world.deal()
    world.take("j", CancelRequested(0))
    assert world.outcome("j").status is JobStatus.CANCELLED
    assert len(world.dispatched) == 2


def test_a_budget_counts_the_tools_that_are_offered_and_what_was_said() -> None:
    step = agent(max_output_tokens=10)
    assert ran(step, searches("a"), turn("x"), budget={"tokens": 100_000}).outcome("j").output == "x"
    short = ran(step, searches("a"), turn("x"), budget={"tokens": 350}).outcome("j")
    assert short.reason is ErrorKind.BUDGET_EXCEEDED, "the schemas of its tools take more than is left"
    missing = made(agent(), budget={"tokens": 100_000}).outcome("j")
    assert missing.status is JobStatus.REJECTED
    assert "max_output_tokens" in missing.message


def test_an_operator_sends_a_turn_back_as_it_was_or_not_at_all() -> None:
    world = made()
    world.deal()
    world.result(Script(searches("a", "b"))(world.tasks.pop()))
    world.deal()
    world.result(Script(tools=lambda _task: ErrorKind.BAD_REQUEST)(world.tasks.pop(0)))
    world.take("j", TaskRedriven("j/s/1", messages=(("user", "x"),)))
    assert [each.reason for each in world.effects if isinstance(each, SetAside)] == ["invalid_redrive"]
    world.take("j", TaskRedriven("j/s/1"))
    world.run(Script(turn("x")))
    assert called(world) == [("search", {"q": "a"}), ("search", {"q": "b"}), ("search", {"q": "a"})]
    assert pattern(world) == PatternReceipt(turns=2, tool_calls=2)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tools": ["serch"]}, "unknown tool 'serch' (did you mean 'search'?)"),
        ({"tools": ["search", "search"]}, "tool 'search' stands here already"),
        ({"tools": []}, "steps.s.agent.tools"),
        ({"pool": "smal"}, "unknown pool 'smal' (did you mean 'small'?)"),
        ({"prompt": "{{ draft }}"}, "unknown reference 'draft'"),
        ({"max_turns": 1}, "steps.s.agent.max_turns"),
        ({"output": {"type": "nonsense"}}, "not a valid JSON Schema"),
        ({"max_turn": 3}, "did you mean 'max_turns'?"),
    ],
)
def test_what_is_wrong_with_an_agent_is_said_when_it_is_loaded(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(agent(**fields)), pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    assert problem in str(caught.value)


def test_a_tool_whose_pool_is_missing_is_said_when_the_workflow_is_loaded() -> None:
    with pytest.raises(WorkflowInvalid, match="unknown pool 'tool-noop'"):
        compile_workflow(workflow(agent(tools=["search"])), pools=POOLS, tools=FILE.tools)

"""Calls that offer tools, against the scripted provider over real HTTP: what goes out, and the turn that comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.runtime.turns import turn
from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.messages import ChatMessage, Task, ToolOffer, ToolUse
from headrace.workers.adapters.openai import _completion
from headrace.workers.http import Answer

from .conftest import make_task

QUERY = {"type": "object", "properties": {"q": {"type": "string"}}}
OFFERS = (ToolOffer(name="search", description="looks up", arguments=QUERY),)
ASKS = "rules: [{match: 'look up (.*)', tool_calls: [{name: search, arguments: {q: '{1}'}}]}]"


def offering(**fields: Any) -> Task:
    call = {"tools": OFFERS, **fields.pop("call", {})}
    return make_task(prompt='look up "it"', call=call, **fields)


def test_the_tools_go_out_and_the_calls_that_the_model_asks_for_come_back_as_a_turn(attempt) -> None:
    result, provider, _ = attempt(ASKS, offering())
    assert result.output == turn("", [ToolUse(name="search", arguments='{"q": "\\"it\\""}')])
    assert result.finish_reason == "tool_calls"
    function = {"name": "search", "description": "looks up", "parameters": QUERY}
    assert provider.calls[0].body["tools"] == [{"type": "function", "function": function}]
    assert "tool_choice" not in provider.calls[0].body
    assert result.usage.input_tokens > len('look up "it"') // 4 + 1, "the schemas of tools are paid for"


def test_a_turn_that_may_ask_for_none_says_so_and_is_an_answer(attempt) -> None:
    result, provider, _ = attempt(ASKS, offering(call={"tool_choice": "none"}))
    assert result.output == turn('look up "it"')
    assert provider.calls[0].body["tool_choice"] == "none"


def test_a_conversation_goes_out_in_the_providers_form(attempt) -> None:
    use = ToolUse(id="call00000", name="search", arguments='{"q": "a"}')
    messages = (
        ChatMessage(role="user", content="why?"),
        ChatMessage(role="assistant", content="", tool_calls=(use,)),
        ChatMessage(role="tool", content="found", tool_call_id="call00000"),
    )
    task = offering()
    assert task.call is not None
    task = task.model_copy(update={"call": task.call.model_copy(update={"messages": messages})})
    result, provider, _ = attempt("{}", task)
    assert result.output == turn("found")
    function = {"name": "search", "arguments": '{"q": "a"}'}
    assert provider.calls[0].body["messages"] == [
        {"role": "user", "content": "why?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call00000", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call00000", "content": "found"},
    ]


def test_the_schema_of_the_output_is_held_by_the_answer_and_not_by_calls(attempt) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked, _, _ = attempt(ASKS, offering(call={"output_schema": schema}))
    assert asked.failure is None
    good, _, _ = attempt("rules: [{json_answer: {n: 1}}]", offering(call={"output_schema": schema}))
    assert good.output == turn({"n": 1})
    bad, _, _ = attempt("rules: [{answer: 'no JSON'}]", offering(call={"output_schema": schema}))
    assert bad.failure is not None
    assert bad.failure.kind is ErrorKind.MALFORMED_OUTPUT


def test_a_call_that_offers_no_tools_is_answered_as_ever(attempt) -> None:
    assert attempt(ASKS, make_task(prompt="look up it"))[0].output == "look up it"


def test_more_calls_at_once_than_anybody_reads_are_malformed(attempt) -> None:
    uses = [{"name": "search"}] * 65
    result, _, _ = attempt(json.dumps({"rules": [{"tool_calls": uses}]}), offering())
    assert result.failure is not None
    assert result.failure.kind is ErrorKind.MALFORMED_OUTPUT


def answered(tool_calls: Any) -> Answer:
    body = {"choices": [{"message": {"content": None, "tool_calls": tool_calls}, "finish_reason": "tool_calls"}]}
    return Answer(200, {}, json.dumps(body).encode())


def test_arguments_may_be_an_object_or_missing() -> None:
    calls = [{"function": {"name": "a", "arguments": {"q": 1}}}, {"function": {"name": "b"}}]
    uses = _completion(answered(calls)).tool_calls
    assert [(use.name, use.arguments) for use in uses] == [("a", '{"q": 1}'), ("b", "")]
    assert _completion(answered(None)).tool_calls == ()


@pytest.mark.parametrize("calls", [7, ["x"], [{}], [{"function": {}}], [{"function": {"name": 7}}], {"function": 1}])
def test_calls_of_another_form_are_no_answer(calls: Any) -> None:
    with pytest.raises(AdapterError):
        _completion(answered(calls))

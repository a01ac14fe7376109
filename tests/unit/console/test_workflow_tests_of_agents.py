"""``headrace workflow test``: an agent's turns and its calls of tools are answered by the case."""

from __future__ import annotations

from typing import Any

import yaml

from tests.unit.console.workflow_cases import played, run, write

__all__ = ["write"]

POOLS = {
    "endpoints": {"e": {"public": True}},
    "pools": {"small": {"endpoint": "e", "price": {"input": 1_000_000, "output": 2_000_000}, "timeout_s": 60}},
    "tools": {
        "search": {
            "kind": "noop",
            "arguments": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
        },
        "drop": {"kind": "noop"},
    },
}
WORKFLOW = {
    "name": "w",
    "version": 1,
    "steps": {"ask": {"agent": {"pool": "small", "prompt": "{{ input.text }}", "tools": ["search"]}}},
}


def case(**fields: Any) -> dict[str, Any]:
    answers = [
        {"step": "ask", "pool": "tool-noop", "prompt": "tides", "answer": "twice a day"},
        {
            "step": "ask",
            "index": 0,
            "tool_calls": [{"name": "search", "arguments": {"q": "{last}"}}, {"name": "drop"}],
        },
        {"step": "ask", "prompt": "twice a day", "answer": "They come twice a day."},
    ]
    return {"input": {"text": "tides"}, "answers": answers, **fields}


def test_turns_and_calls_are_answered_and_what_the_model_was_told_can_be_expected(write, tmp_path) -> None:
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(POOLS))
    expect = {
        "output": "They come twice a day.",
        "tasks": {"ask": 3},
        "events": [
            {"type": "agent.refused", "data": {"turn": 1, "calls": [{"tool": "drop", "reason": "unlisted"}]}},
            {"type": "agent.answered", "data": {"turns": 2, "tool_calls": 1, "refused": 1}},
        ],
        "prompts": [{"step": "ask", "contains": "there is no tool drop here; there are: search"}],
        "cost_microusd": {"at_least": 1},
    }
    assert played(write(WORKFLOW, case(expect=expect), pools="pools.yaml"))["failures"] == []


def test_a_case_that_no_rule_answers_ends_with_the_echo(write, tmp_path) -> None:
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(POOLS))
    plain = {"input": {"text": "tides"}, "expect": {"output": "tides", "tasks": {"ask": 1}}}
    assert played(write(WORKFLOW, plain, pools="pools.yaml"))["passed"]


def test_tool_calls_beside_an_error_are_a_problem(write, tmp_path) -> None:
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(POOLS))
    wrong = {"input": {"text": "x"}, "answers": [{"error": "timeout", "tool_calls": [{"name": "search"}]}]}
    result = run(write(WORKFLOW, wrong, pools="pools.yaml"))
    assert result.exit_code == 2
    assert "a call that fails asks for no tools" in result.output

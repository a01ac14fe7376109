"""What the judge of agents holds against one: each promise broken by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulation.deployment import BOOK, LOOK, OPEN, TOOLS, UNDO
from tests.simulation.errands import MAX_CALLS, MAX_TURNS
from tests.simulation.judges.agents import agents


def turn(*ids: str, told: tuple[str, ...] | None = None, by_reference: bool = False) -> dict[str, Any]:
    """Return a turn's task, in whose conversation these calls were asked for."""
    asked = {"role": "assistant", "content": "", "tool_calls": [{"id": id_} for id_ in ids]}
    answers = [{"role": "tool", "content": "x", "tool_call_id": id_} for id_ in (ids if told is None else told)]
    call = {"messages": [{"role": "user", "content": "go"}, asked, *answers], "tools": [{"name": LOOK}, {"name": BOOK}]}
    return {"pool": OPEN, **({"call_ref": {}} if by_reference else {"call": call})}


def called(tool: str) -> dict[str, Any]:
    return {"pool": TOOLS, "tool": {"tool": tool, "arguments": {}}}


def said(*tasks: dict[str, Any]) -> list[str]:
    dispatched = {
        (f"j/agent/{number}", 1): {**task, "job_id": "j", "step": "agent"} for number, task in enumerate(tasks)
    }
    history: Any = SimpleNamespace(dispatched=dispatched)
    return list(agents(history))


def test_an_agent_that_does_as_it_may_is_let_pass() -> None:
    assert said(turn(), called(LOOK), called(BOOK), turn("a", "b"), turn("a", "b", by_reference=True)) == []


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        ([turn(), called(UNDO)], "j/agent/1 calls"),
        ([turn()] * (MAX_TURNS + 1), f"had {MAX_TURNS + 1} turns"),
        ([turn(), *[called(LOOK)] * (MAX_CALLS + 1)], f"and {MAX_CALLS + 1} calls"),
        ([turn("a", "b", told=("a",))], "asked for ['a', 'b'] and was told of ['a']"),
        ([turn("a", told=("b",))], "asked for ['a'] and was told of ['b']"),
    ],
)
def test_an_agent_that_does_more_is_told_of(tasks: list[dict[str, Any]], problem: str) -> None:
    assert any(problem in each for each in said(*tasks))

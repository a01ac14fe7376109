"""Steps around the models: tools, sagas, texts that are cut, lists that are put together. One errand a workflow."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.patterns import COUNT
from tests.simulation.deployment import BOOK, HOUSE, LOOK, OPEN, ORDER, UNDO

Steps = dict[str, Any]
SOURCE = "{{ input.items }}"
TEXT = "{{ job.id }} asks for it"
MAX_TURNS, MAX_CALLS = 4, 2
"""Of an agent; some have fewer turns."""


def with_errand(draws: Random, workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow with an errand before all its steps, after them, or beside them."""
    steps, errand = workflow["steps"], draws.choice(ERRANDS)(draws)
    name, last = next(reversed(errand.items()))
    last["on_error"] = draws.choice(("fail", "skip", {"default": "?"}))
    if draws.random() < 0.2:
        next(iter(errand.values()))["when"] = COUNT
    place = draws.choice(("before", "after", "beside"))
    if place == "before":
        steps = {each: {**step, "after": [name]} for each, step in steps.items()}
    if place == "after":
        next(iter(errand.values()))["after"] = list(steps)
    return {**workflow, "name": f"{name}-{workflow['name']}", "steps": {**steps, **errand}}


def _call(draws: Random, tool: str | None = None, **arguments: Any) -> Steps:
    return {"name": tool or draws.choice((LOOK, ORDER, BOOK)), "arguments": {"text": TEXT, **arguments}}


def _retry(draws: Random) -> Steps:
    return {"attempts": draws.choice((1, 2, 4)), "backoff_ms": draws.choice((50, 400)), "max_backoff_ms": 1_000}


def _tool(draws: Random) -> Steps:
    return {"order": {"tool": _call(draws), "retry": _retry(draws)}}


def _tool_for_each(draws: Random) -> Steps:
    step = {"for_each": SOURCE, "tool": _call(draws, text="{{ item }}"), "retry": _retry(draws)}
    if draws.random() < 0.5:
        step["require"] = draws.choice(({"share": 0.5}, {"at_least": 1}))
    return {"orders": step, "count": {"reduce": "orders", "with": draws.choice(("count", "concat"))}}


def _split(draws: Random) -> Steps:
    by, size = draws.choice((("lines", 1), ("lines", 40), ("characters", 30)))
    cut = {"split": {"from": f"{TEXT}\n" * 3, "by": by, "size": size}}
    each = {"for_each": "cut", "tool": _call(draws, LOOK, text="{{ item }}"), "max_in_flight": 4}
    return {"cut": cut, "pieces": each}


def _saga(draws: Random) -> Steps:
    """Return a saga whose calls say which they are, so that a judge can put it together again."""
    entries = []
    of = draws.choice((1, 2, 3, 4))
    for at in range(of):
        told = {"saga": "{{ job.id }}", "entry": at, "of": of, "undoable": draws.random() < 0.8}
        entry: Steps = {"name": f"e{at}", "tool": _call(draws, draws.choice((ORDER, BOOK, BOOK)), **told)}
        if told["undoable"]:
            entry["compensate"] = _call(draws, UNDO, **told, undoes=f"{{{{ e{at}.key }}}}")
        entries.append(entry)
    return {"saga": {"saga": entries, "retry": _retry(draws)}}


def _agent(draws: Random) -> Steps:
    """Return an agent that may call some of the tools; the provider asks for others too."""
    agent = {
        "pool": draws.choice((OPEN, HOUSE)),
        "prompt": TEXT,
        "max_output_tokens": 8,
        "tools": draws.choice(([LOOK], [LOOK, BOOK], [ORDER, BOOK])),
        "max_turns": draws.choice((2, 3, MAX_TURNS)),
        "max_calls": MAX_CALLS,
    }
    return {"agent": {"agent": agent, "retry": _retry(draws)}}


ERRANDS = (_tool, _tool_for_each, _split, _agent, _agent, _saga, _saga, _saga)
"""What may be drawn; sagas oftener, since only some of them fail."""

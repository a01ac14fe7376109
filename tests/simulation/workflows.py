"""Random small workflows, from a space that is small enough for their compiled graphs to be kept over many seeds."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.patterns import COUNT, draw_pattern
from tests.simulation.deployment import HOUSE, OPEN

POLICIES: tuple[dict[str, Any], ...] = (
    {"require": {"share": 0.5}},
    {"require": {"at_least": 1}},
    {"on_error": "skip"},
    {"on_error": {"default": "?"}},
    {"on_error": "fail"},
)


def draw_workflow(draws: Random, *, pools: tuple[str, ...] = (OPEN, HOUSE)) -> dict[str, Any]:
    """Return a fan-out, perhaps a second one over it, perhaps a tree, perhaps a pattern; or one call; or patterns."""

    def llm(prompt: str) -> dict[str, Any]:
        return {"pool": draws.choice(pools), "prompt": prompt, "max_output_tokens": 8}

    if draws.random() < 0.2:
        steps = {"only": draw_pattern(draws, "{{ input.items[0] }}", pools)}
        if draws.random() < 0.5:
            steps["last"] = draw_pattern(draws, "{{ only }}", pools)
        return {"name": "patterns", "version": 1, "steps": steps, "output": [f"{{{{ {name} }}}}" for name in steps]}
    if draws.random() < 0.2:
        only = {"llm": llm("{{ input.items[0] }}"), "retry": {"attempts": 2, "backoff_ms": 100}}
        return {"name": "one", "version": 1, "steps": {"only": only}, "output": "{{ only }}"}
    retry = {"attempts": draws.choice((1, 3, 5)), "backoff_ms": draws.choice((50, 400, 4_000)), "max_backoff_ms": 4_000}
    first: dict[str, Any] = {"for_each": "{{ input.items }}", "llm": llm("{{ item }}"), "retry": retry}
    first.update(draws.choice(POLICIES))
    if draws.random() < 0.3:
        first["max_in_flight"] = 2
    steps, last = {"first": first}, "first"
    if draws.random() < 0.4:
        steps["second"] = {"for_each": "first", "llm": llm("{{ item }}"), "on_error": draws.choice(("skip", "fail"))}
        last = "second"
    if draws.random() < 0.3:
        merge = "{% for n in items %}{{ n }} {% endfor %}"
        steps["tree"] = {"reduce": last, "fan_in": draws.choice((2, 3)), "llm": llm(merge)}
        last = "tree"
    if draws.random() < 0.2:
        steps["end"] = draw_pattern(draws, f"{{{{ {last} }}}}", pools)
        last = "end"
    if draws.random() < 0.2:
        steps[draws.choice(list(steps))]["when"] = COUNT
    return {"name": "w", "version": 1, "steps": steps, "output": f"{{{{ {last} }}}}"}

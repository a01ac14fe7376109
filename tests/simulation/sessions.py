"""Conversations: jobs of one session with steps in turn, submitted at any time and by any client."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulation.deployment import HOUSE, OPEN

SPAN_US = 8_000_000


def draw_turns(draws: Random) -> list[tuple[int, dict[str, Any]]]:
    """Return submissions and cancels of some sessions, each with the microsecond at which it is written; often none."""
    found = []
    for session in range(draws.choice((0, 0, 1, 2))):
        for number in range(draws.choice((2, 3, 5))):
            at_us, job_id = draws.randrange(200_000, SPAN_US), f"job-talk-{session}::{number}"
            job = {
                "job_id": job_id,
                "workflow": _workflow(draws, remembers=session == 1),
                "input": {"items": [f"{job_id} says", job_id]},
            }
            found.append((at_us, job))
            if draws.random() < 0.15:
                found.append((at_us + draws.randrange(3_000_000), {"type": "cancel", "job_id": job_id}))
            if draws.random() < 0.15:
                found.append((at_us + draws.randrange(3_000_000), job))
    return found


def _workflow(draws: Random, *, remembers: bool) -> dict[str, Any]:
    def step(prompt: str, **more: Any) -> dict[str, Any]:
        llm = {"pool": draws.choice((OPEN, HOUSE)), "prompt": prompt, "max_output_tokens": 8}
        return {"llm": llm, "retry": {"attempts": 3, "backoff_ms": 200}, **more}

    steps = {
        "look": step("{{ input.items[0] }}"),
        "reply": step(
            "{{ item }}", for_each="{{ input.items }}", key="session", on_error=draws.choice(("skip", "fail"))
        ),
        "kept": step("{{ reply | length }}", key="session", on_error="skip"),
    }
    if remembers:
        look = steps["look"].pop("llm")
        route = {"classifier": {**look, "remember_s": 2}, "to": {"a": {"llm": look}, "b": {}}, "otherwise": "b"}
        steps["look"]["route"] = route
    return {"name": "talk", "version": 1, "steps": steps, "output": "{{ reply }}"}

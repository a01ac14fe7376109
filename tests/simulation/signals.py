"""Workflows with a step that waits, and whoever signals it: in time, too early, too late, twice, wrongly, or never."""

from __future__ import annotations

from random import Random
from typing import Any

LETTERS = frozenset({"invalid_signal", "signal_too_late", "job_over", "unknown_signal"})
"""Why signals are set aside."""


def with_wait(draws: Random, workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow with a step before all others that waits, or with one behind them."""
    steps, gate = dict(workflow["steps"]), _gate(draws)
    if draws.random() < 0.5:
        gate["after"] = list(steps)
    else:
        first = next(iter(steps))
        steps[first] = {**steps[first], "after": ["gate"]}
    return {**workflow, "name": f"gated-{workflow['name']}", "steps": {**steps, "gate": gate}}


def _gate(draws: Random) -> dict[str, Any]:
    on_timeout = draws.choice(("fail", "skip", {"default": "nobody"}))
    schema = {"type": "string"}
    timeout_s = draws.choice((1.0, 4.0, 15.0))
    return {"wait": {"signal": "go", "timeout_s": timeout_s, "on_timeout": on_timeout, "schema": schema}}


def draw_signals(draws: Random, job_id: str) -> list[tuple[int, dict[str, Any]]]:
    """Return what is sent, each with the microseconds after the job."""
    found = []
    for _ in range(draws.choice((0, 1, 1, 2, 3))):
        name, payload = draws.choice((("go", f"{job_id} yes"), ("go", f"{job_id} no"), ("go", 7), ("gone", None)))
        signal = {"type": "signal", "job_id": job_id, "name": name, "payload": payload}
        found.append((draws.randrange(8_000_000), signal))
    return found

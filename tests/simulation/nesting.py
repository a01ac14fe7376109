"""Workflows that run others as jobs of their own: one for all, or one an item, one or two levels deep."""

from __future__ import annotations

from random import Random
from typing import Any


def nested(draws: Random, workflow: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow that runs this one below it."""
    for level in range(draws.choice((1, 1, 2))):
        workflow = _above(draws, workflow, f"nest{level}")
    return workflow


def _above(draws: Random, workflow: dict[str, Any], name: str) -> dict[str, Any]:
    if draws.random() < 0.5:
        step: dict[str, Any] = {"workflow": {"inline": workflow, "input": {"items": "{{ input.items }}"}}}
    else:
        step = {"for_each": "{{ input.items }}", "workflow": {"inline": workflow, "input": {"items": ["{{ item }}"]}}}
        step["require"] = draws.choice(("all", {"share": 0.5}))
    if draws.random() < 0.3:
        step["retry"] = {"attempts": 2, "backoff_ms": 200}
    if draws.random() < 0.2:
        step["timeout_s"] = draws.choice((2, 8))
    if draws.random() < 0.3:
        step["on_error"] = draws.choice(("skip", {"default": "?"}))
    return {"name": name, "version": 1, "steps": {"below": step}, "output": "{{ below }}"}


def nests(submission: dict[str, Any]) -> bool:
    """Return whether a submission's workflow runs others."""
    workflow = submission.get("workflow")
    steps = workflow.get("steps", {}) if isinstance(workflow, dict) else {}
    return any("workflow" in step for step in steps.values())

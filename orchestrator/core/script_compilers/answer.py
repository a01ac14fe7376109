"""What the patterns ask for: answers of a form, and several of one kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.llm_plan import LlmPlan


def sample_of(call: LlmPlan, pool: str, number: int) -> LlmPlan:
    """Return a call as one of several: with a seed of its own, where it has one, so that it is another answer."""
    seed = None if call.seed is None else call.seed + number
    return replace(call, pool=pool, seed=seed)


def answer_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer with these fields, and no others: strict, as providers take it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }

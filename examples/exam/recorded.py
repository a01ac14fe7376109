"""The four recorded models, their list prices, and their answers as the example's replay server has them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

MODELS = ("llama-3.1-8b-instant", "gemini-1.5-flash", "gpt-4o-2024-05-13", "gemini-3.1-pro-preview")
"""From small to best. The names are those of the price lists."""

PRICES = {
    "llama-3.1-8b-instant": {"input": 50_000, "output": 80_000},
    "gemini-1.5-flash": {"input": 75_000, "output": 300_000},
    "gpt-4o-2024-05-13": {"input": 5_000_000, "output": 15_000_000},
    "gemini-3.1-pro-preview": {"input": 2_000_000, "output": 12_000_000},
}
"""Micro-dollars for a million tokens, as in `pools.yaml`, which says where they come from (a test holds both equal)."""


def cost_of(model: str, input_tokens: int, output_tokens: int) -> int:
    """Return the price of one call in micro-US-dollars, rounded up as a worker does."""
    price = PRICES[model]
    return -(-(input_tokens * price["input"] + output_tokens * price["output"]) // 1_000_000)


def read_answers() -> dict[str, Any]:
    """Return the right choices, what each model chose, and what each call cost, all in the order of the questions."""
    questions = json.loads((HERE / "input" / "questions.json").read_text(encoding="utf-8"))["questions"]
    right = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))
    lines = gzip.decompress((HERE / "recorded.jsonl.gz").read_bytes()).decode().splitlines()[1:]
    found = {(line["model"], line["key"]): line for line in map(json.loads, lines)}
    keys = [str(question["id"]) for question in questions]
    return {
        "right": [right[key] for key in keys],
        "chosen": {model: [found[model, key].get("json", {}).get("answer") for key in keys] for model in MODELS},
        "cost": {
            model: [
                cost_of(model, found[model, key]["input_tokens"], found[model, key]["output_tokens"]) for key in keys
            ]
            for model in MODELS
        },
    }

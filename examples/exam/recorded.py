"""The four recorded models, their list prices, and their answers as the example's replay server has them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

POOLS = {
    "llama-8b": "llama-3.1-8b-instant",
    "gemini-flash": "gemini-1.5-flash",
    "gpt-4o": "gpt-4o-2024-05-13",
    "gemini-pro": "gemini-3.1-pro-preview",
}
"""Pools and their models, from small to best. The models' names are those of the price lists."""
BEST = "gemini-pro"

PRICES = {
    "llama-8b": {"input": 50_000, "output": 80_000},
    "gemini-flash": {"input": 75_000, "output": 300_000},
    "gpt-4o": {"input": 5_000_000, "output": 15_000_000},
    "gemini-pro": {"input": 2_000_000, "output": 12_000_000},
}
"""Micro-dollars for a million tokens, as in `pools.yaml`, which says where they come from (a test holds both equal)."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was recorded, in the order of the questions."""

    right: Sequence[str]
    """The right choices."""
    chosen: Mapping[str, Sequence[str | None]]
    """By pool; None where no choice could be read."""
    cost: Mapping[str, Sequence[int]]
    """By pool, of each call, in micro-US-dollars."""


def cost_of(pool: str, input_tokens: int, output_tokens: int) -> int:
    """Return the price of one call in micro-US-dollars, rounded up as a worker does."""
    price = PRICES[pool]
    return -(-(input_tokens * price["input"] + output_tokens * price["output"]) // 1_000_000)


def read_answers() -> Answers:
    """Return the recorded answers to all questions."""
    questions = json.loads((HERE / "input" / "questions.json").read_text(encoding="utf-8"))["questions"]
    right = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))
    lines = gzip.decompress((HERE / "recorded.jsonl.gz").read_bytes()).decode().splitlines()[1:]
    found = {(line["model"], line["key"]): line for line in map(json.loads, lines)}
    keys = [str(question["id"]) for question in questions]
    by_pool = {pool: [found[model, key] for key in keys] for pool, model in POOLS.items()}
    return Answers(
        right=[right[key] for key in keys],
        chosen={pool: [line.get("json", {}).get("answer") for line in lines] for pool, lines in by_pool.items()},
        cost={
            pool: [cost_of(pool, line["input_tokens"], line["output_tokens"]) for line in lines]
            for pool, lines in by_pool.items()
        },
    )

"""Draw the questions, cut the answers: ``python -m headrace.examples.exam.prepare OUTCOMES.parquet RESPONSES.parquet``.

Needs pyarrow. The files are those of TIGER-AI-Lab/MMLU-Pro, a row a question: what each model chose (``M_pred``), how
many tokens it wrote (``M_out_tokens``), and its answer's text. Only questions on which all four answers were recorded.

The draw takes 500, of each category its share. Of 200 such draws (seeds 0 to 199) it is the one whose single models
come nearest to those of all questions, in accuracy and cost: a draw of 500 strays, and a table that is only luck helps
nobody. What cascades and votes come to played no part in the choice.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, pstdev
from typing import Any

from headrace.examples.exam.recorded import BEST, HERE, POOLS, PRICES, Answers, cost_of
from headrace.examples.exam.score import accuracy_of
from headrace.examples.exam.ways import SMALLEST_CASCADE, Way, choices_of, costs_of

COLUMNS = dict(zip(POOLS, ("llama31_8b_instruct", "gemini15_flash_002", "gpt4o", "gemini31_pro"), strict=True))
QUESTIONS = 500
SEEDS = 200
KEY = r"Question (\d+)\b"
KEPT_CHARS = 160
"""Of an answer's end: where the choice is named. The rest is reasoning that nobody reads again."""
SAID = (
    re.compile(r"answer is \(?([A-J])\)?"),
    re.compile(r"[aA]nswer:\s*\(?([A-J])\)?"),
)
"""How MMLU-Pro reads a choice, in this order."""

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], seed: int, count: int = QUESTIONS) -> list[Row]:
    """Return so many questions, of each category its share."""
    by_category: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: int(row["question_id"])):
        by_category[row["category"]].append(row)
    exact = {name: len(found) * count / len(rows) for name, found in by_category.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_rest = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in by_rest[: count - sum(shares.values())]:
        shares[name] += 1
    random = Random(seed)
    return [row for name in sorted(by_category) for row in random.sample(by_category[name], shares[name])]


def fairest(rows: Sequence[Row], seeds: int = SEEDS) -> list[Row]:
    """Return the draw whose single models are nearest to those of all questions."""
    wanted = _margins(rows)
    draws = [draw(rows, seed) for seed in range(seeds)]
    margins = [_margins(found) for found in draws]
    spreads = [pstdev(column) or 1.0 for column in zip(*margins, strict=True)]

    def strays(number: int) -> float:
        found = zip(margins[number], wanted, spreads, strict=True)
        return max(abs(value - whole) / spread for value, whole, spread in found)

    return draws[min(range(seeds), key=strays)]


def _margins(rows: Sequence[Row]) -> list[float]:
    """Return each model's accuracy and mean cost."""
    return [
        value
        for pool, column in COLUMNS.items()
        for value in (
            fmean(float(row[f"{column}_correct"]) for row in rows),
            fmean(cost_of(pool, row["prompt_tokens"], int(row[f"{column}_out_tokens"])) for row in rows),
        )
    ]


def excerpt(text: str, choice: str | None) -> str:
    """Return the end of an answer, from where it still says what it chose."""
    start = max(0, len(text) - KEPT_CHARS)
    if choice is not None and _chosen(text[start:]) != choice:
        found = next((match for said in SAID if (match := said.search(text)) and match[1] == choice), None)
        start = found.start() if found else start
    kept = text[start : start + KEPT_CHARS].strip()
    return kept if start == 0 else f"… {kept}"


def _chosen(text: str) -> str | None:
    return next((found[1] for said in SAID if (found := said.search(text))), None)


def recording(pool: str, row: Row, text: str) -> dict[str, Any]:
    """Return one line of the recorded answers."""
    choice = row[f"{COLUMNS[pool]}_pred"]
    line: dict[str, Any] = {"model": POOLS[pool], "key": str(row["question_id"]), "text": excerpt(text, choice)}
    if choice is not None:
        line["json"] = {"answer": choice}
    return {**line, "input_tokens": row["prompt_tokens"], "output_tokens": int(row[f"{COLUMNS[pool]}_out_tokens"])}


def main() -> None:
    import pyarrow.parquet

    outcomes, responses = (pyarrow.parquet.read_table(Path(path)).to_pylist() for path in sys.argv[1:3])
    texts = {row["question_id"]: row for row in responses}
    whole = [
        row
        for row in outcomes
        if all(row[f"{name}_correct"] is not None and texts[row["question_id"]][name] for name in COLUMNS.values())
    ]
    chosen = fairest(whole)
    questions = [
        {"id": row["question_id"], "category": row["category"], "question": row["question"], "options": row["options"]}
        for row in chosen
    ]
    lines = [json.dumps(each, ensure_ascii=False) for each in questions]
    (HERE / "input" / "questions.json").write_text('{"questions": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")
    answers = {str(row["question_id"]): row["answer"] for row in chosen}
    (HERE / "answers.json").write_text(json.dumps(answers, indent=0) + "\n", encoding="utf-8")
    recorded = [
        {
            "key": KEY,
            "about": "recorded answers to MMLU-Pro; see README.md",
            "prices": {POOLS[pool]: price for pool, price in PRICES.items()},
        }
    ] + [recording(pool, row, texts[row["question_id"]][column]) for row in chosen for pool, column in COLUMNS.items()]
    content = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in recorded)
    (HERE / "recorded.jsonl.gz").write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    _tell_of_draws(whole)


def _tell_of_draws(whole: Sequence[Row]) -> None:
    """Print what the cascade comes to on all questions, and how much the draws stray."""
    accuracy, cost = _ratios(whole)
    print(f"all {len(whole)} questions: the cascade has {accuracy:.3f} of the accuracy at {cost:.3f} of the cost")
    found = [_ratios(draw(whole, seed)) for seed in range(SEEDS)]
    for name, column in zip(("accuracy", "cost"), zip(*found, strict=True), strict=True):
        print(
            f"{SEEDS} draws of {QUESTIONS}: {name} {fmean(column):.3f} ± {pstdev(column):.3f}, seed 0 {column[0]:.3f}"
        )
    held = sum(accuracy >= 0.92 and cost <= 0.66 for accuracy, cost in found)
    print(f"{held} of them hold 0.92 at 0.66")


def _ratios(rows: Sequence[Row]) -> tuple[float, float]:
    """Return accuracy and cost of the cascade by those of the best model alone."""
    answers = Answers(
        right=[row["answer"] for row in rows],
        chosen={pool: [row[f"{column}_pred"] for row in rows] for pool, column in COLUMNS.items()},
        cost={
            pool: [cost_of(pool, row["prompt_tokens"], int(row[f"{column}_out_tokens"])) for row in rows]
            for pool, column in COLUMNS.items()
        },
    )
    both = (SMALLEST_CASCADE, Way("alone", (BEST,)))
    cascade, best = (accuracy_of(choices_of(way, answers), answers) for way in both)
    spent, full = (sum(costs_of(way, answers)) for way in both)
    return cascade / best, spent / full


if __name__ == "__main__":
    main()

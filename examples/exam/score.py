"""What each way to ask comes to: ``python -m examples.exam.score``; ``--write`` puts table and picture in place.

Computed from the recorded answers alone, by the rules that the workflows state: a cascade takes what its small models
agree on and else asks the last one; a vote takes what two of three say and else what the last one says. An answer
without a readable choice agrees with nobody, and is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from examples.exam.picture import drawn
from examples.exam.recorded import HERE, MODELS, read_answers

PICTURE = HERE.parents[1] / "docs" / "pictures" / "exam.svg"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


@dataclass(frozen=True, slots=True)
class Point:
    """One way to ask."""

    name: str
    accuracy: float
    cost: float
    """Micro-US-dollars a question."""
    escalated: float | None = None
    """Of a cascade: the share of questions that the last model was asked."""


def cascade(small: Sequence[str], last: str) -> str:
    """Return the name of a cascade by agreement."""
    return f"{' = '.join(map(short, small))}, else {short(last)}"


def vote(models: Sequence[str]) -> str:
    """Return the name of a vote."""
    return f"vote: {', '.join(map(short, models))}"


def short(model: str) -> str:
    """Return a model's name without its date."""
    return {MODELS[0]: "llama-8b", MODELS[1]: "gemini-flash", MODELS[2]: "gpt-4o", MODELS[3]: "gemini-pro"}[model]


def points_of(answers: Mapping[str, Any]) -> list[Point]:
    """Return each model alone, the cascades by agreement of two, and the votes of three."""
    count = len(answers["right"])
    chosen, cost = answers["chosen"], answers["cost"]
    points = []

    def add(name: str, choices: Sequence[str | None], costs: Sequence[int], escalated: float | None = None) -> None:
        hits = sum(choice == right for choice, right in zip(choices, answers["right"], strict=True))
        points.append(Point(name, hits / count, sum(costs) / count, escalated))

    for model in MODELS:
        add(model, chosen[model], cost[model])
    for number, last in enumerate(MODELS):
        for one, other in combinations(MODELS[:number], 2):
            pairs = list(zip(chosen[one], chosen[other], chosen[last], strict=True))
            agreed = [a is not None and a == b for a, b, _ in pairs]
            add(
                cascade((one, other), last),
                [a if same else c for (a, _, c), same in zip(pairs, agreed, strict=True)],
                [cost[one][at] + cost[other][at] + (0 if same else cost[last][at]) for at, same in enumerate(agreed)],
                1 - sum(agreed) / count,
            )
    for models in combinations(MODELS, 3):
        add(
            vote(models),
            [_most([chosen[model][at] for model in models]) for at in range(count)],
            [sum(cost[model][at] for model in models) for at in range(count)],
        )
    return points


def _most(choices: Sequence[str | None]) -> str | None:
    """Return what two say; what the last says where no two say the same."""
    return next((choice for choice in choices if choice is not None and choices.count(choice) > 1), choices[-1])


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in accuracy at the same cost or less, from cheap to dear."""
    return [
        point
        for point in sorted(points, key=lambda point: (point.cost, -point.accuracy))
        if not any(other.accuracy >= point.accuracy and other.cost <= point.cost and other != point for other in points)
    ]


def table(points: Sequence[Point]) -> str:
    """Return the points as Markdown; bold is the frontier."""
    best, edge = next(point for point in points if point.name == MODELS[-1]), frontier(points)
    lines = ["| | right | of the best | USD for 1,000 | of the best | last model asked |", "|---|---|---|---|---|---|"]
    for point in points:
        name = f"**{point.name}**" if point in edge else point.name
        asked = "" if point.escalated is None else f"{point.escalated:.1%}"
        lines.append(
            f"| {name} | {point.accuracy:.1%} | {point.accuracy / best.accuracy:.1%} | {point.cost / 1_000:.3f} | "
            f"{point.cost / best.cost:.1%} | {asked} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the README's table and the picture")
    options = parser.parse_args()
    points = points_of(read_answers())
    print(table(points))
    if options.write:
        page = HERE / "README.md"
        page.write_text(with_table(page.read_text(encoding="utf-8"), table(points)), encoding="utf-8")
        PICTURE.write_text(picture(points), encoding="utf-8")


def with_table(page: str, text: str) -> str:
    """Return the page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def picture(points: Sequence[Point]) -> str:
    """Return cost and accuracy of all points as SVG."""
    edge = {point.name for point in frontier(points)}
    names = {point.name: short(point.name) if point.name in MODELS else point.name for point in points}
    dots = [(names[point.name], point.cost / 1_000, point.accuracy, point.name in edge) for point in points]
    return drawn("500 questions: cost and accuracy", dots)


if __name__ == "__main__":
    main()

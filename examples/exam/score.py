"""What each way to ask comes to: ``python -m headrace.examples.exam.score``; ``--write`` puts it into docs/exam.md.

Computed from the recorded answers alone; ``headrace examples run exam`` holds what its jobs came to against it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.examples.exam.picture import drawn
from headrace.examples.exam.recorded import BEST, HERE, Answers, read_answers
from headrace.examples.exam.ways import Way, choices_of, costs_of, escalations_of, ways

DOCS = HERE.resolve().parents[1] / "docs"
PAGE, PICTURE = DOCS / "exam.md", DOCS / "pictures" / "exam.svg"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"


@dataclass(frozen=True, slots=True)
class Point:
    """What one way to ask comes to."""

    way: Way
    accuracy: float
    cost: float
    """Micro-US-dollars a question."""
    escalated: float
    """Of a cascade: the share of questions that the last model was asked."""

    @property
    def label(self) -> str:
        """Its name in the picture."""
        return self.way.last if self.way.kind == "alone" else self.way.name


def points_of(answers: Answers) -> list[Point]:
    """Return a point for each way."""
    count = len(answers.right)
    return [
        Point(
            way,
            accuracy_of(choices_of(way, answers), answers),
            sum(costs_of(way, answers)) / count,
            escalations_of(way, answers) / count,
        )
        for way in ways()
    ]


def accuracy_of(choices: Sequence[str | None], answers: Answers) -> float:
    """Return the share of choices that are right."""
    hits = sum(choice == right for choice, right in zip(choices, answers.right, strict=True))
    return hits / len(answers.right)


def best_of(points: Sequence[Point]) -> Point:
    """Return the point of the best model alone."""
    return next(point for point in points if point.way == Way("alone", (BEST,)))


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in accuracy at the same cost or less, from cheap to dear."""
    return [
        point
        for point in sorted(points, key=lambda point: (point.cost, -point.accuracy))
        if not any(other.accuracy >= point.accuracy and other.cost <= point.cost and other != point for other in points)
    ]


def table(points: Sequence[Point]) -> str:
    """Return the points as Markdown; bold is the frontier."""
    best, edge = best_of(points), frontier(points)
    lines = ["| | right | of the best | USD for 1,000 | of the best | last model asked |", "|---|---|---|---|---|---|"]
    for point in points:
        name = f"**{point.way.name}**" if point in edge else point.way.name
        asked = f"{point.escalated:.1%}" if point.way.kind == "cascade" else ""
        lines.append(
            f"| {name} | {point.accuracy:.1%} | {point.accuracy / best.accuracy:.1%} | {point.cost / 1_000:.3f} | "
            f"{point.cost / best.cost:.1%} | {asked} |"
        )
    return "\n".join(lines)


def with_table(page: str, text: str) -> str:
    """Return the page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def picture(points: Sequence[Point]) -> str:
    """Return cost and accuracy of all points as SVG."""
    edge = frontier(points)
    dots = [(point.label, point.cost / 1_000, point.accuracy, point in edge) for point in points]
    return drawn("500 questions: cost and accuracy", dots)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table and the picture of docs/exam.md")
    options = parser.parse_args()
    points = points_of(read_answers())
    print(table(points))
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(points)), encoding="utf-8")
        PICTURE.write_text(picture(points), encoding="utf-8")


if __name__ == "__main__":
    main()

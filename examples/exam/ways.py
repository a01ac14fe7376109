"""The ways to ask: each model alone, cascades by agreement of two, votes of three. As workflows, and as rules.

`workflow_of` is what is run. `choices_of` and `costs_of` say what must come of it, from the recorded answers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from headrace.examples.exam.recorded import BEST, POOLS, Answers


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask."""

    kind: Literal["alone", "cascade", "vote"]
    pools: tuple[str, ...]
    """From small to best: the last is whom a cascade asks where the others disagree, and whose word counts in a tie."""

    @property
    def name(self) -> str:
        match self.kind:
            case "alone":
                return POOLS[self.pools[0]]
            case "cascade":
                return f"{' = '.join(self.pools[:-1])}, else {self.pools[-1]}"
            case "vote":
                return f"vote: {', '.join(self.pools)}"

    @property
    def last(self) -> str:
        return self.pools[-1]


def ways() -> list[Way]:
    """Return all of them."""
    pools = tuple(POOLS)
    cascades = [
        (*two, last) for number, last in enumerate(pools) for two in combinations(pools[:number], 2)
    ]  # A better one has the last word.
    return [
        *(Way("alone", (pool,)) for pool in pools),
        *(Way("cascade", each) for each in cascades),
        *(Way("vote", each) for each in combinations(pools, 3)),
    ]


SMALLEST_CASCADE = Way("cascade", ("llama-8b", "gemini-flash", BEST))
"""The two small models where they agree, else the best."""


def workflow_of(way: Way, cascade: Mapping[str, Any]) -> dict[str, Any]:
    """Return a way's workflow, which asks with the words of the example's.

    Args:
        cascade: the example's workflow: it asks in the way of `SMALLEST_CASCADE`.
    """
    step = dict(cascade["steps"]["choice"])
    asked = step.pop("cascade")
    call = {name: value for name, value in asked.items() if name not in ("pools", "accept")}
    match way.kind:
        case "alone":
            step["llm"] = {**call, "pool": way.last}
        case "cascade":
            step["cascade"] = {**asked, "pools": [list(way.pools[:-1]), way.last]}
        case "vote":
            step["vote"] = {**call, "voters": [{"pool": pool} for pool in voters_of(way)]}
    return {**cascade, "steps": {"choice": step}}


def voters_of(way: Way) -> tuple[str, ...]:
    """Return a vote's pools in their order: of a tie the first one's word counts, so that is the best."""
    return (way.last, *way.pools[:-1])


def choices_of(way: Way, answers: Answers) -> list[str | None]:
    """Return what a way chooses: nobody agrees with an answer that has no choice, and alone it is wrong."""
    rows = zip(*(answers.chosen[pool] for pool in voters_of(way)), strict=True)
    match way.kind:
        case "alone":
            return list(answers.chosen[way.last])
        case "cascade":
            return [small[0] if _agreed(small) else last for last, *small in rows]
        case "vote":
            return [_most(row) for row in rows]


def costs_of(way: Way, answers: Answers) -> list[int]:
    """Return what each question costs, in micro-US-dollars; of a vote, where all three are asked."""
    rows = zip(*(answers.cost[pool] for pool in way.pools), strict=True)
    return [sum(row) - (row[-1] if saved else 0) for row, saved in zip(rows, _saved(way, answers), strict=True)]


def escalations_of(way: Way, answers: Answers) -> int:
    """Return how often a cascade's last model is asked."""
    return len(answers.right) - sum(_saved(way, answers))


def _saved(way: Way, answers: Answers) -> list[bool]:
    """Return for each question whether the last model need not be asked."""
    if way.kind != "cascade":
        return [False] * len(answers.right)
    return [_agreed(row) for row in zip(*(answers.chosen[pool] for pool in way.pools[:-1]), strict=True)]


def _agreed(choices: tuple[str | None, ...] | list[str | None]) -> bool:
    return choices[0] is not None and all(choice == choices[0] for choice in choices)


def _most(choices: tuple[str | None, ...]) -> str | None:
    """Return what most say; of a tie, what is said by the one who stands first."""
    said = [choice for choice in choices if choice is not None]
    return max(said, key=lambda choice: (said.count(choice), -said.index(choice)), default=None)

"""Which answers are the same, and how many say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headrace.orchestrator.core.scripts.run import Answer, Run
from headrace.orchestrator.core.templates import RenderError
from headrace.schemas.codec import canonical_json


class Party(NamedTuple):
    """Answers that are the same, in the order of their tasks; at least one."""

    answers: tuple[Answer, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.answers)

    @property
    def first(self) -> Answer:
        """The one that stands for them."""
        return self.answers[0]


def parties(run: Run, answers: Iterable[Answer], compare: str | None) -> list[Party]:
    """Return good answers by what they say, the largest party first, of equal ones the one whose first task is lower.

    Args:
        compare: an expression over ``answer`` whose value is compared in its place; an answer of which it cannot be
            told stands in no party. Texts are compared without the white space around them and without case.
    """
    found: dict[bytes, list[Answer]] = {}
    for answer in answers:
        if answer.good and (key := _key(run, answer, compare)) is not None:
            found.setdefault(key, []).append(answer)
    return sorted((Party(tuple(group)) for group in found.values()), key=lambda party: -party.size)


def _key(run: Run, answer: Answer, compare: str | None) -> bytes | None:
    value = answer.value()
    if compare is not None:
        try:
            value = run.evaluate(compare, {"answer": value})
        except RenderError:
            return None
    if isinstance(value, str):
        value = " ".join(value.casefold().split())
    return None if value is None else canonical_json(value)


def spent_microusd(stages: Iterable[Iterable[Answer]]) -> int:
    """Return what the tasks of some stages cost, as far as it is known."""
    return sum(answer.told.cost_microusd for stage in stages for answer in stage)

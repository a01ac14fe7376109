"""The search for the one piece of work that Kafka refuses."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.shell.halving import PARTS, Halving, Part

MOST = 100


def batch_of(halving: Halving, work: dict[Part, deque[bool]]) -> tuple[list[tuple[Part, bool]], int]:
    """Return what a batch takes on, by the loop's order, and how many pieces that is."""
    taken: list[tuple[Part, bool]] = []
    for part in PARTS:
        if halving.allows(part):
            taken += [(part, bad) for bad in list(work[part])[: halving.limit(MOST)]]
    return taken, len(taken)


def work_off(work: dict[Part, deque[bool]], *, at_most: int) -> tuple[int, int]:
    """Work everything off; return how many batches that took, and how many bad pieces were found."""
    halving, batches, found = Halving(MOST), 0, 0
    while any(work.values()):
        batches += 1
        assert batches <= at_most, "the search does not end"
        taken, pieces = batch_of(halving, work)
        if any(bad for _, bad in taken):
            if halving.refused(pieces):
                assert pieces == 1
                assert work[taken[0][0]].popleft()
                found += 1
                halving.reset()
            continue
        for part, _ in taken:
            work[part].popleft()
        halving.went_well()
    return batches, found


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.booleans()), max_size=60), st.data())
def test_every_bad_piece_is_found_and_no_good_one(pieces: list[tuple[Part, bool]], data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, min(4, len(pieces))))
    work: dict[Part, deque[bool]] = {part: deque() for part in PARTS}
    for number, (part, _) in enumerate(pieces):
        work[part].append(number < bad)
    assert work_off(work, at_most=2_000)[1] == bad


@pytest.mark.parametrize("part", PARTS)
def test_one_bad_piece_of_a_full_batch_costs_a_few_dozen_transactions(part: Part) -> None:
    work = {each: deque([False] * MOST) for each in PARTS}
    work[part][MOST // 2] = True
    batches, found = work_off(work, at_most=200)
    assert found == 1
    assert batches < 80


def test_one_refusal_alone_changes_nothing_but_the_size() -> None:
    halving = Halving(MOST)
    halving.refused(40)
    assert not halving.searching
    assert halving.limit(MOST) == 40
    halving.went_well()
    assert halving.limit(MOST) == MOST

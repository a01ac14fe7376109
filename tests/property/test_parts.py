"""Laws of items by reference: which line of which part an item is, whatever the parts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.core.parts import Lines, LinesCache, PartsIndex, count_lines
from headrace.schemas.messages import ItemsPart, ObjectRef

counts = st.lists(st.integers(1, 50), min_size=1, max_size=40)
contents = st.lists(st.binary(max_size=8).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r")), min_size=1)


def index_of(found: list[int]) -> PartsIndex:
    return PartsIndex(tuple(ItemsPart(key="k", size_bytes=1, sha256="0" * 64, items=count) for count in found))


@given(counts)
def test_every_item_lies_in_exactly_one_place_and_in_order(found: list[int]) -> None:
    index = index_of(found)
    assert index.total == sum(found)
    places = [index.locate(item) for item in range(index.total)]
    assert places == [(part, line) for part, count in enumerate(found) for line in range(count)]


@given(counts, st.sampled_from([-1, 0, 1]))
def test_there_is_nothing_before_the_first_item_and_after_the_last(found: list[int], beyond: int) -> None:
    index = index_of(found)
    with pytest.raises(IndexError):
        index.locate(-1 if beyond < 0 else index.total + beyond)


@given(contents, st.booleans(), st.booleans())
def test_lines_are_those_that_were_joined(found: list[bytes], ended: bool, carriage: bool) -> None:
    end = b"\r\n" if carriage else b"\n"
    data = end.join(found) + (end if ended else b"")
    if not data or (not ended and not found[-1]):
        return  # A part has a byte at least; and nothing tells an empty last line from none.
    lines = Lines(data)
    assert len(lines) == count_lines(data) == len(found)
    assert [lines.line(number) for number in range(len(lines))] == found


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 2_000))
def test_the_cache_gives_what_was_stored_and_keeps_no_more_than_its_bound_or_one(asked: list[int], most: int) -> None:
    data = [b"%d\n" % number * (10 * number + 1) for number in range(10)]
    cache, loads = LinesCache(most), []

    def load(ref: ObjectRef) -> bytes:
        loads.append(ref.key)
        return data[int(ref.key)]

    for number in asked:
        ref = ObjectRef(key=str(number), size_bytes=len(data[number]), sha256=str(number))
        assert cache.lines(ref, load).data == data[number]
        assert cache.size_bytes <= most or len(cache._kept) == 1
    assert len(loads) <= len(asked)

"""Laws of the bookkeeping of tasks that are out: nothing that waits is suspected, nothing that is done is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.core.flights import Flight, Flights

PLACE = ("tasks", 0)
GRACE_MS = 1_000


def flight(number: int) -> Flight:
    return Flight(f"task/j/s/{number}", 1, 100)


def lost(flights: Flights, now_ms: int) -> list[str]:
    found = []
    while (taken := flights.take(now_ms)) is not None:
        found.append(taken.key)
    return found


@given(st.integers(0, 60), st.integers(0, 60), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5))
def test_exactly_what_a_commit_says_is_done_and_has_no_result_is_lost_after_its_time(
    count: int, offset: int, gaps: list[tuple[int, int]]
) -> None:
    spans, at = [], offset
    for undone, done in gaps:
        spans.append((at + undone, at + undone + done))
        at += undone + done
    flights = Flights(GRACE_MS)
    for number in range(count):
        flights.sent(flight(number), PLACE, number)
    answered = {f"task/j/s/{number}" for number in range(0, count, 3)}
    flights.done(PLACE, offset, spans, now_ms=0, is_out=lambda key, _: key not in answered)
    gone = {n for n in range(count) if n < offset or any(start <= n < end for start, end in spans)}
    assert lost(flights, 1_099) == [], "its call's time and the grace are waited for"
    assert set(lost(flights, 1_100)) == {f"task/j/s/{number}" for number in gone if number % 3}
    assert len(flights) == count - len(gone)


@given(st.integers(1, 20))
def test_what_an_aborted_batch_took_is_due_again(count: int) -> None:
    flights = Flights(GRACE_MS)
    for number in range(count):
        flights.suspect(flight(number), 0)
    first = lost(flights, 2_000)
    flights.restore()
    assert lost(flights, 2_000) == first
    flights.settle()
    flights.restore()
    assert lost(flights, 2_000) == []
    assert flights.next_due_ms() is None


def test_commits_of_other_partitions_say_nothing() -> None:
    flights = Flights(GRACE_MS)
    flights.sent(flight(1), PLACE, 5)
    flights.done(("tasks", 1), 9, (), now_ms=0, is_out=lambda *_: True)
    flights.done(PLACE, 5, ((7, 9),), now_ms=0, is_out=lambda *_: True)
    assert lost(flights, 10**9) == []

"""Laws of the circuit breaker: whatever the order of calls and endings, a provider that fails is left alone in time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.workers.core.breaker import Breaker, BreakerState

FAILURES, WINDOW, OPEN_MS = 3, 5, 1_000


class Calls(RuleBasedStateMachine):
    """Calls that overlap, fail, succeed and are given up, while time passes."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(failures=FAILURES, window=WINDOW, open_ms=OPEN_MS)
        self.now_ms = 0
        self.running: list[tuple[int, BreakerState]] = []
        self.opened_ms: int | None = None
        self.in_a_row = 0

    @rule(ms=st.integers(0, 700))
    def time_passes(self, ms):
        self.now_ms += ms

    @rule()
    def a_call_wants_to_begin(self):
        before, wait_ms = self.breaker.state, self.breaker.wait_ms(self.now_ms)
        permit = self.breaker.begin(self.now_ms)
        if before is BreakerState.CLOSED:
            assert permit is not None
        if before is BreakerState.OPEN:
            assert (permit is not None) == (self.now_ms >= self.opened_ms + OPEN_MS) == (wait_ms == 0)
        if permit is not None:
            self.running.append((permit, self.breaker.state))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.sampled_from([True, False, None]))
    def a_call_ends(self, data, failed):
        at = data.draw(st.integers(0, len(self.running) - 1))
        permit, began_in = self.running.pop(at)
        before = self.breaker.state
        self.breaker.end(permit, self.now_ms, failed=failed)
        after = self.breaker.state
        if before is BreakerState.CLOSED and failed is not None and began_in is BreakerState.CLOSED:
            self.in_a_row = self.in_a_row + 1 if failed else 0
        if failed is None or before is BreakerState.OPEN:
            assert after is before
        if after is BreakerState.OPEN and before is not BreakerState.OPEN:
            assert failed is True
            self.opened_ms = self.now_ms
        if before is BreakerState.HALF_OPEN and began_in is not BreakerState.HALF_OPEN:
            assert after is before, "a call from before the trouble is no probe"
        if after is not before:
            self.in_a_row = 0

    @invariant()
    def one_probe_at_a_time(self):
        if self.breaker.state is BreakerState.HALF_OPEN:
            probe = self.breaker.begin(self.now_ms)
            assert probe is None or self.breaker.begin(self.now_ms) is None
            if probe is not None:
                self.breaker.end(probe, self.now_ms, failed=None)

    @invariant()
    def a_closed_breaker_has_not_seen_enough_failures(self):
        if self.breaker.state is BreakerState.CLOSED:
            assert sum(self.breaker._lately) < FAILURES


TestBreaker = Calls.TestCase


def failing(breaker, times, now_ms=0):
    for _ in range(times):
        breaker.end(breaker.begin(now_ms), now_ms, failed=True)


def test_it_opens_with_the_last_failure_that_it_needs_and_not_before():
    breaker = Breaker(failures=3, window=5, open_ms=1_000)
    failing(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    failing(breaker, 1, now_ms=10)
    assert breaker.state is BreakerState.OPEN
    assert breaker.begin(1_009) is None
    assert breaker.wait_ms(1_009) == 1


def test_failures_that_are_far_apart_do_not_open_it():
    breaker = Breaker(failures=3, window=5, open_ms=1_000)
    for _ in range(50):
        failing(breaker, 1)
        for _ in range(2):
            breaker.end(breaker.begin(0), 0, failed=False)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_is_answered_closes_it_and_one_that_fails_opens_it_for_as_long_again():
    breaker = Breaker(failures=1, window=1, open_ms=1_000)
    failing(breaker, 1)
    failing(breaker, 1, now_ms=1_000)
    assert (breaker.state, breaker.begin(1_999)) == (BreakerState.OPEN, None)
    breaker.end(breaker.begin(2_000), 2_000, failed=False)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_was_given_up_lets_the_next_one_through():
    breaker = Breaker(failures=1, window=1, open_ms=1_000)
    failing(breaker, 1)
    probe = breaker.begin(1_000)
    assert breaker.begin(1_000) is None
    breaker.end(probe, 1_000, failed=None)
    assert breaker.begin(1_000) is not None

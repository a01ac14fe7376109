"""A worker that slept starts nothing until it can know what it still owns."""

from __future__ import annotations

from headrace.workers.core.lease import SETTLE_MS, Lease


def test_nothing_is_started_before_the_first_round_and_everything_while_rounds_come():
    lease = Lease(3_000)
    assert not lease.holds(0)
    for now_ms in range(0, 20_000, 2_900):
        lease.beat(now_ms)
        assert lease.holds(now_ms)
        assert lease.holds(now_ms + 2_899)


def test_after_a_gap_nothing_is_started_until_the_group_could_say_who_owns_what():
    lease = Lease(3_000)
    lease.beat(0)
    assert not lease.holds(3_001), "the loop wakes up before the poller"
    lease.beat(10_000)
    assert not lease.holds(10_000)
    lease.beat(10_000 + SETTLE_MS - 1)
    assert not lease.holds(10_000 + SETTLE_MS - 1)
    assert lease.holds(10_000 + SETTLE_MS)

"""The choice between the lanes."""

from __future__ import annotations

import pytest

from headrace.schemas.messages import Lane
from headrace.workers.core.lanes import PERIOD_MS, LaneShare

LIMIT = 32
IDLE = (0, 0)


def filled(share: LaneShare, now_ms: int, *, interactive: tuple[int, int] = IDLE, batch: int = 0) -> int:
    """Return how many batch tasks run once no more of them may start, many waiting and `batch` running."""
    while share.next(now_ms, interactive=interactive, batch=(99, batch)) is Lane.BATCH:
        batch += 1
    return batch


def test_interactive_goes_first_and_batch_gets_every_eighth_start():
    share = LaneShare(LIMIT, 8)
    starts = [share.next(0, interactive=(9, 0), batch=(9, 0)) for _ in range(80)]
    assert starts.count(Lane.BATCH) == 10
    assert set(starts[:7]) == {Lane.INTERACTIVE}


@pytest.mark.parametrize("every", [2, 3, 50])
def test_the_share_of_batch_is_a_setting(every):
    share = LaneShare(LIMIT, every)
    starts = [share.next(0, interactive=(1, 0), batch=(1, 0)) for _ in range(every * 4)]
    batch = [number for number, lane in enumerate(starts, 1) if lane is Lane.BATCH]
    assert batch == [every * n for n in (1, 2, 3, 4)]


def test_a_lane_that_waits_alone_gets_every_slot_and_never_one_more():
    assert filled(LaneShare(LIMIT, 8), 0) == LIMIT
    share = LaneShare(LIMIT, 8)
    assert all(share.next(0, interactive=(1, running), batch=IDLE) is Lane.INTERACTIVE for running in range(LIMIT))
    assert share.next(0, interactive=(1, LIMIT), batch=IDLE) is None
    assert share.next(0, interactive=(1, 2), batch=(1, LIMIT - 2)) is None


def test_batch_leaves_free_as_many_slots_as_interactive_tasks_were_there_at_once():
    share = LaneShare(LIMIT, 8)
    assert share.next(0, interactive=(2, 0), batch=IDLE) is Lane.INTERACTIVE
    assert filled(share, 1) == LIMIT - 2
    assert filled(share, 2, interactive=(0, 2)) == LIMIT - 2 - 2
    assert share.next(3, interactive=(9, 0), batch=IDLE) is Lane.INTERACTIVE
    assert filled(share, 4) == LIMIT - LIMIT // 8


def test_what_was_kept_free_is_given_back_when_no_interactive_task_comes_any_more():
    share = LaneShare(LIMIT, 8)
    share.next(0, interactive=(2, 0), batch=IDLE)
    assert filled(share, PERIOD_MS) == LIMIT - 2
    assert filled(share, 2 * PERIOD_MS) == LIMIT
    share.next(3 * PERIOD_MS, interactive=(2, 0), batch=IDLE)
    assert filled(share, 9 * PERIOD_MS) == LIMIT


def test_batch_has_its_share_of_the_slots_where_interactive_tasks_take_all_others_and_none_waits():
    share = LaneShare(LIMIT, 8)
    share.next(0, interactive=(9, 0), batch=IDLE)
    assert filled(share, 1, interactive=(0, LIMIT - 4)) == 4
    assert filled(share, 2, interactive=(0, LIMIT - 2)) == 2


def test_a_pool_of_few_slots_keeps_none_free():
    for limit in range(1, 8):
        share = LaneShare(limit, 8)
        assert share.next(0, interactive=(1, 0), batch=IDLE) is Lane.INTERACTIVE
        assert filled(share, 1) == limit

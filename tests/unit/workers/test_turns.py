"""Whose turn it is, of tasks that are answered at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from headrace.schemas.messages import Lane
from headrace.workers.adapters.base import Completion
from headrace.workers.core.lease import Lease
from headrace.workers.shell.delivery import Assignment

from .test_pool import play


class Echo:
    """Answers at once."""

    def complete(self, request, *, model):
        return Completion("done", "stop")


@pytest.mark.parametrize(("interactive", "batch"), [(3, 2), (20, 2), (2, 20), (0, 3), (3, 0)])
def test_answers_that_take_no_time_come_of_both_lanes_in_their_turns(interactive, batch):
    async def scene(world):
        world.pool._runner._immediate, world.pool._runner.immediate = Echo(), True
        held, broken = Assignment(0, 1, Lease(3_000)), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        waiting = {Lane.INTERACTIVE: range(interactive), Lane.BATCH: range(100, 100 + batch)}
        for lane, offsets in waiting.items():
            if offsets:
                world.offer(*offsets, lane=lane, assignment=held)
        assert not world.sender.sent
        held.lease.beat(time.monotonic_ns() // 1_000_000)
        await world.until(lambda: len(world.sender.results()) == interactive + batch)
        done = [int(result.task_id.split("/")[2]) for result in world.sender.results()]
        assert sorted(done) == [*waiting[Lane.INTERACTIVE], *waiting[Lane.BATCH]]
        last = max((place for place, offset in enumerate(done) if offset < 100), default=0)
        turns = [place for place, offset in enumerate(done[:last]) if offset >= 100]
        assert turns == list(range(2, last, 4))[:batch], "a turn was asked for and put back before"
        assert not broken

    play(scene)

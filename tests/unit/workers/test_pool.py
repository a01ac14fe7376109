"""The pool between its pollers, its provider and Kafka: what is started, what is answered, what is left to others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from headrace.schemas.codec import decode, encode, header_map
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Attempt, Lane, Result
from headrace.schemas.pools import Pool, Price
from headrace.schemas.topics import Topics
from headrace.workers.adapters.base import Completion
from headrace.workers.core.journal import Entry
from headrace.workers.core.lease import Lease
from headrace.workers.shell import pool as pool_module
from headrace.workers.shell.answers import Answers
from headrace.workers.shell.attempt import AttemptRunner
from headrace.workers.shell.delivery import Assignment, Delivery, Inbox
from headrace.workers.shell.pool import WorkPool
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.running import Running
from headrace.workers.shell.workplace import Workplace

from .conftest import make_task

TOPICS = Topics("t")


class SlowProvider:
    """Answers when it is told to."""

    def __init__(self):
        self.calls = Counter()
        self.go = asyncio.Event()

    async def call(self, request, *, model, timeout_s, idempotency_key):
        self.calls[idempotency_key] += 1
        await self.go.wait()
        return Completion("done", "stop")


class FakeSender:
    """Keeps what is sent; acknowledges when it is told to."""

    def __init__(self):
        self.sent = []
        self.waiting = []
        self.open = True
        self.stalled = False

    def send(self, *records, finish, kind):
        at = len(self.sent)
        self.sent += records
        self.waiting.append((at, finish))
        if self.open:
            self.acknowledge()

    def acknowledge(self):
        while self.waiting:
            at, finish = self.waiting.pop(0)
            finish(at)

    def results(self):
        found = [one for one in self.sent if one.topic == TOPICS.results]
        return [decode(Result, one.value, header_map(one.headers)) for one in found]

    def journal(self):
        found = [one for one in self.sent if one.topic == TOPICS.attempts("p")]
        return [decode(Attempt, one.value, header_map(one.headers)) for one in found]


class Message:
    def __init__(self, task):
        self.task = task

    def value(self):
        return encode(self.task)

    def headers(self):
        return []


class World:
    def __init__(self, *, price=Price(input=1), concurrency=4):  # noqa: B008
        self.provider, self.sender = SlowProvider(), FakeSender()
        self.cancelled = set()
        pool, cancelled = Pool(endpoint="here", model="m", price=price), self.cancelled.__contains__
        place = Workplace("p", pool, "w", is_cancelled=cancelled, objects=lambda: None, inline_bytes=1_000)
        runner = AttemptRunner(self.provider, place)
        answers = Answers(self.sender, pool="p", worker="w", topics=TOPICS, result_partitions=4)
        report = AttemptReport("p", "here", quiet=True)
        self.pool = WorkPool(runner, answers, report, name="p", concurrency=concurrency, batch_every=4)
        self.inbox = Inbox()
        self.lease = Lease(3_000)
        self.beat()
        self.assignment = Assignment(0, 1, self.lease)

    def beat(self):
        self.lease.beat(time.monotonic_ns() // 1_000_000)

    def offer(self, *offsets, assignment=None, noted=None, lane=Lane.BATCH, **fields):
        self.pool.offer(
            [
                Delivery(
                    lane,
                    Message(make_task(task_id=f"j/s/{offset}", lane=lane, **fields)),
                    offset,
                    assignment or self.assignment,
                    self.inbox,
                    noted,
                )
                for offset in offsets
            ]
        )

    async def until(self, check):
        for _ in range(1_000):
            if check():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("never")


def play(scene, **options):
    async def main():
        await scene(World(**options))

    asyncio.run(main())


def test_where_calls_cost_money_none_begins_before_its_start_is_acknowledged():
    async def scene(world):
        world.sender.open = False
        world.offer(0, 1)
        await asyncio.sleep(0.05)
        assert [note.phase for note in world.sender.journal()] == ["started", "started"]
        assert not world.provider.calls
        world.sender.acknowledge()
        await world.until(lambda: len(world.provider.calls) == 2)
        assert [(offset, at) for _, _, offset, at in world.inbox.begun] == [(0, 0), (1, 1)]

    play(scene)


def test_where_calls_are_free_they_begin_at_once():
    async def scene(world):
        world.sender.open = False
        world.offer(0)
        await world.until(lambda: world.provider.calls)
        assert [note.phase for note in world.sender.journal()] == ["started"]

    play(scene, price=Price())


def test_a_delivery_is_finished_when_end_and_result_are_acknowledged_and_not_before():
    async def scene(world):
        world.offer(7)
        await world.until(lambda: world.provider.calls)
        world.sender.open = False
        world.provider.go.set()
        await world.until(world.sender.results)
        assert not world.inbox.done
        world.sender.acknowledge()
        assert list(world.inbox.done) == [(0, 1, 7, 1)]
        assert world.sender.journal()[-1].result == world.sender.results()[0]

    play(scene)


def test_a_task_whose_answer_is_journalled_is_answered_without_a_call_and_without_a_further_record():
    async def scene(world):
        before = Result(task_id="j/s/3", job_id="j", attempt=1, output="paid", cost_microusd=9, worker="other")
        world.offer(3, noted=Entry("j/s/3", 1, 5, before))
        assert world.sender.results() == [before.model_copy(update={"journalled": True})]
        assert not world.sender.journal()
        assert not world.provider.calls
        assert list(world.inbox.done) == [(0, 1, 3, None)]

    play(scene)


def test_a_task_that_was_only_begun_is_answered_interrupted_by_a_kill_and_that_is_its_end():
    async def scene(world):
        world.offer(3, noted=Entry("j/s/3", 1, 5, None))
        (result,) = world.sender.results()
        assert (result.failure.kind, result.cause, result.unconfirmed) == (ErrorKind.INTERRUPTED, "kill", True)
        assert not result.journalled
        assert [(note.phase, note.result) for note in world.sender.journal()] == [("ended", result)]
        assert not world.provider.calls

    play(scene)


def test_what_the_journal_says_of_another_attempt_is_not_believed():
    async def scene(world):
        world.offer(3, noted=Entry("j/s/3", 1, 5, None), attempt=2)
        await world.until(lambda: world.provider.calls)

    play(scene)


def test_a_task_that_comes_again_while_its_call_runs_here_is_answered_by_that_call():
    async def scene(world):
        world.offer(3)
        await world.until(lambda: world.provider.calls)
        world.assignment.alive = world.assignment.ours = False
        again = Assignment(0, 2, world.lease)
        world.offer(3, assignment=again, noted=Entry("j/s/3", 1, 0, None))
        world.sender.open = False
        world.provider.go.set()
        await world.until(world.sender.results)
        third = Assignment(0, 3, world.lease)
        world.offer(3, assignment=third)
        world.sender.acknowledge()
        assert [(epoch, offset) for _, epoch, offset, _ in world.inbox.done] == [(1, 3), (2, 3), (3, 3)]
        assert [epoch for _, epoch, _, _ in world.inbox.begun] == [1, 2, 3]
        assert world.provider.calls == {"j/s/3:1": 1}
        assert [one.failure for one in world.sender.results()] == [None]

    play(scene)


def test_a_delivery_that_comes_when_the_result_was_just_acknowledged_is_finished_too():
    inbox = Inbox()

    def delivery(epoch):
        return Delivery(Lane.BATCH, None, 3, Assignment(0, epoch, Lease(1)), inbox)

    running = Running(make_task(), [], [delivery(1)], until_ms=0)
    running.note_start(5)
    running.settle(6)
    running.adopt(delivery(2))
    assert list(inbox.begun) == [(0, 1, 3, 5), (0, 2, 3, 5)]
    assert list(inbox.done) == [(0, 1, 3, 6), (0, 2, 3, 6)]


def test_a_start_that_is_acknowledged_late_waits_until_a_lost_partition_is_known_to_be_lost(monkeypatch):
    monkeypatch.setattr(pool_module, "SLOW_START_MS", 20)
    monkeypatch.setattr(pool_module, "SETTLE_MS", 200)

    async def scene(world):
        world.sender.open = False
        world.offer(0)
        await asyncio.sleep(0.05)
        world.beat()
        world.sender.acknowledge()
        await asyncio.sleep(0.05)
        world.assignment.alive = world.assignment.ours = False
        await world.until(lambda: [note.phase for note in world.sender.journal()] == ["started", "ended"])
        assert not world.provider.calls

    play(scene)


def test_a_call_that_has_not_begun_when_its_partition_is_lost_is_left_to_the_next_owner():
    async def scene(world):
        world.sender.open = False
        world.offer(0)
        await asyncio.sleep(0.02)
        world.assignment.alive = world.assignment.ours = False
        world.sender.acknowledge()
        await world.until(lambda: world.inbox.dropped)
        assert not world.provider.calls
        assert not world.sender.results()
        assert [(note.phase, note.result) for note in world.sender.journal()] == [("started", None), ("ended", None)]

    play(scene)


def test_a_worker_that_slept_starts_nothing_until_the_poller_can_say_what_is_ours():
    async def scene(world):
        world.lease.beat(time.monotonic_ns() // 1_000_000 - 10_000)
        world.offer(0, 1)
        await asyncio.sleep(0.2)
        assert not world.sender.journal()
        world.assignment.alive = False
        world.pool.release([world.assignment])
        assert [offset for _, _, offset in world.inbox.dropped] == [0, 1]
        other = Assignment(1, 2, world.lease)
        world.offer(2, assignment=other)
        world.lease = other.lease = Lease(3_000)
        world.beat()
        await world.until(lambda: world.provider.calls == {"j/s/2:1": 1})

    play(scene)


def test_while_kafka_takes_nothing_nothing_more_is_started():
    async def scene(world):
        world.sender.stalled = True
        world.offer(0)
        await asyncio.sleep(0.15)
        assert not world.sender.journal()
        world.sender.stalled = False
        await world.until(lambda: world.provider.calls)

    play(scene)


def test_a_start_that_was_acknowledged_after_a_sleep_does_not_begin_before_it_is_known_to_be_ours():
    async def scene(world):
        world.sender.open = False
        world.offer(0)
        await asyncio.sleep(0.02)
        world.lease._beat_ms -= 10_000
        world.sender.acknowledge()
        await asyncio.sleep(0.15)
        assert not world.provider.calls
        world.assignment.alive = world.assignment.ours = False
        world.assignment.lease = Lease(3_000)
        world.assignment.lease.beat(time.monotonic_ns() // 1_000_000)
        await world.until(lambda: world.inbox.dropped)
        assert not world.provider.calls

    play(scene)


def test_interactive_tasks_start_first_and_a_share_is_kept_for_batch_so_that_neither_lane_starves():
    async def scene(world):
        world.offer(*range(7))
        world.offer(*range(100, 112), lane=Lane.INTERACTIVE)
        await world.until(lambda: world.provider.calls)
        world.provider.go.set()
        await world.until(lambda: len(world.inbox.done) == 19)
        starts = "".join(note.lane.value[0] for note in world.sender.journal() if note.phase == "started")
        assert starts == "b" + "iiib" * 4 + "bb"

    play(scene, concurrency=1)


def test_a_release_lets_go_what_waits_and_says_until_when_the_rest_runs():
    async def scene(world):
        before = int(time.time() * 1_000)
        world.offer(*range(6), timeout_ms=60_000)
        await world.until(lambda: len(world.provider.calls) == 4)
        world.assignment.alive = False
        world.pool.release([world.assignment])
        assert [offset for _, _, offset in world.inbox.dropped] == [4, 5]
        assert world.assignment.released
        assert before + 60_000 <= world.assignment.until_ms <= time.time() * 1_000 + 60_000
        world.provider.go.set()
        await world.until(lambda: len(world.inbox.done) == 4)
        assert len(world.provider.calls) == 4

    play(scene)


@pytest.mark.parametrize("begun", [True, False])
def test_a_drain_answers_what_is_left_interrupted_by_a_stop_and_unconfirmed_where_the_call_had_begun(begun):
    async def scene(world):
        world.sender.open = begun
        world.offer(0)
        await asyncio.sleep(0.05)
        await world.pool.drain(0.01)
        (result,) = world.sender.results()
        assert (result.failure.kind, result.cause, result.unconfirmed) == (ErrorKind.INTERRUPTED, "stop", begun)
        assert [note.phase for note in world.sender.journal()] == ["started", "ended"]
        assert len(world.provider.calls) == int(begun)

    play(scene)


@pytest.mark.parametrize("begun", [True, False])
def test_a_cancelled_call_is_unconfirmed_where_it_had_begun(begun):
    async def scene(world):
        world.sender.open = begun
        world.offer(0)
        await asyncio.sleep(0.05)
        world.cancelled.add("j")
        world.pool.cancel_job("j")
        await world.until(world.sender.results)
        (result,) = world.sender.results()
        assert (result.failure.kind, result.unconfirmed, result.cause) == (ErrorKind.CANCELLED, begun, "")

    play(scene)


def test_what_is_refused_without_a_call_leaves_nothing_in_the_journal():
    async def scene(world):
        world.offer(0, not_after_ms=1)
        await world.until(lambda: world.inbox.done)
        (result,) = world.sender.results()
        assert (result.failure.kind, result.unconfirmed) == (ErrorKind.DEADLINE_EXCEEDED, False)
        assert not world.sender.journal()
        assert list(world.inbox.done) == [(0, 1, 0, None)]

    play(scene)

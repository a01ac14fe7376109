"""What a worker does with partitions that come and go: what it commits, hands over, and lets go."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

from headrace.schemas.completed import Progress, decode, encode_commit, progress_of
from headrace.schemas.messages import Lane
from headrace.workers.core.lease import Lease
from headrace.workers.shell import commits as commits_module
from headrace.workers.shell.opening import Openings
from headrace.workers.shell.partitions import LanePartitions

from .kafka_fakes import FakeAdmin, FakeGroup, FakeLogs, FakeReader

TASKS, JOURNAL = "t.tasks.p.batch", "t.attempts.p"


class World:
    """One lane, partition 0, and a pool that has started the given offsets."""

    def __init__(self, *, wait_s=0.0, answers=True):
        self.logs = FakeLogs()
        self.group = FakeGroup(TASKS)
        self.started = set()
        self.delivered = set()
        self.pool_answers = answers
        openings = Openings(
            topic=TASKS,
            journal=JOURNAL,
            pool="p",
            lane=Lane.BATCH,
            reader=FakeReader(self.logs),
            admin=FakeAdmin(self.logs),
        )
        self.parts = LanePartitions(
            topic=TASKS,
            pool="p",
            lane=Lane.BATCH,
            commit_interval_ms=10,
            revoke_wait_s=wait_s,
            openings=openings,
            lease=Lease(3_000),
            release=self.release,
        )

    def release(self, assignments):
        """What the pool does, on another thread and perhaps too late."""
        if not self.pool_answers:
            return
        for assignment in assignments:
            for offset in self.delivered - self.started:
                self.parts.inbox.dropped.append((assignment.partition, assignment.epoch, offset))
            assignment.until_ms, assignment.released = int(time.time() * 1_000) + 60_000, True

    def assign(self):
        self.parts.on_assign(self.group, [TopicPartition(TASKS, 0)])
        for _ in range(10):
            self.parts.open(self.group)
        return self.parts.assignments[0]

    def deliver(self, count, *, started=()):
        self.delivered = set(range(count))
        self.started = set(started)
        for offset in range(count):
            assert self.parts.tracker.deliver(0, offset)

    def done(self, assignment, *offsets):
        for offset in offsets:
            self.parts.inbox.done.append((0, assignment.epoch, offset, None))

    def revoke(self):
        self.parts.on_revoke(self.group, [TopicPartition(TASKS, 0)])

    def said_done(self):
        offset, metadata = self.group.offsets[0]
        return set(range(offset)) | {one for start, end in decode(offset, metadata) for one in range(start, end)}


def test_what_runs_at_a_revocation_is_handed_over_and_what_was_not_started_is_not():
    world = World()
    assignment = world.assign()
    world.deliver(6, started=[0, 2, 3])
    world.done(assignment, 2)
    world.revoke()
    assert world.said_done() == {0, 2, 3}
    said = progress_of(*world.group.offsets[0])
    assert (said.handed_over, said.in_flight) == (2, 0)
    assert said.until_ms > time.time() * 1_000
    assert assignment.ours
    assert not assignment.alive


def test_what_the_pool_has_not_let_go_in_time_is_not_handed_over_and_no_call_of_it_begins_any_more():
    world = World(answers=False)
    assignment = world.assign()
    world.deliver(3, started=[0, 1, 2])
    world.revoke()
    assert world.said_done() == set()
    assert not assignment.ours


def test_a_call_that_ends_within_the_revoke_wait_is_simply_done():
    world = World(wait_s=5.0)
    assignment = world.assign()
    world.deliver(2, started=[0, 1])
    world.done(assignment, 0, 1)
    began = time.monotonic()
    world.revoke()
    assert time.monotonic() - began < 1
    assert world.group.offsets[0][0] == 2
    assert progress_of(*world.group.offsets[0]).handed_over == 0


def test_a_hand_over_that_kafka_refuses_is_none_and_calls_that_have_not_begun_are_not_ours_any_more(monkeypatch):
    monkeypatch.setattr(commits_module, "AGAIN_S", 0.0)
    world = World()
    assignment = world.assign()
    world.deliver(2, started=[0, 1])
    world.group.refusals = [KafkaError.ILLEGAL_GENERATION]
    world.revoke()
    assert 0 not in world.group.offsets
    assert not assignment.ours


def test_a_worker_that_is_leaving_hands_nothing_over():
    world = World()
    assignment = world.assign()
    world.deliver(2, started=[0, 1])
    world.parts.leaving = True
    world.revoke()
    assert world.said_done() == set()
    assert not assignment.ours


def test_a_partition_that_is_lost_commits_nothing():
    world = World()
    assignment = world.assign()
    world.deliver(2, started=[0])
    world.done(assignment, 0)
    world.parts.on_lost(world.group, [TopicPartition(TASKS, 0)])
    world.parts.settle()
    world.parts.commit_now(world.group)
    assert not world.group.commits
    assert not assignment.ours


def test_a_partition_that_comes_after_a_loss_is_opened_with_patience_for_late_ends():
    world = World()
    world.assign()
    asked = []
    world.parts.openings.begin = lambda numbers, *, patient: asked.append(patient)
    world.parts.on_assign(world.group, [TopicPartition(TASKS, 1)])
    world.parts.on_lost(world.group, [TopicPartition(TASKS, 0)])
    world.parts.on_assign(world.group, [TopicPartition(TASKS, 0)])
    assert asked == [False, True]


def test_a_partition_that_is_not_open_yet_is_paused_and_commits_nothing_when_it_goes():
    world = World()
    world.group.committed_failures = [KafkaError._TIMED_OUT]
    world.parts.on_assign(world.group, [TopicPartition(TASKS, 0)])
    world.parts.open(world.group)
    world.revoke()
    assert world.group.told == [("incremental_assign", [0]), ("pause", [0]), ("incremental_unassign", [0])]
    assert not world.group.commits


def test_an_open_partition_is_resumed_unless_the_lane_is_paused():
    world = World()
    world.assign()
    told = [event for event in world.group.told if event[0] != "seek"]
    assert told == [("incremental_assign", [0]), ("pause", [0]), ("resume", [0])]
    other = World()
    other.parts.pauses.lane = True
    other.assign()
    assert ("resume", [0]) not in other.group.told


@pytest.mark.parametrize("committed", [None, 3])
def test_an_open_partition_is_sought_so_that_it_is_fetched_at_once(committed):
    """librdkafka's broker thread hears of a seek at once, and of a resume only when it wakes, a second later."""
    world = World()
    if committed is not None:
        world.group.offsets[0] = (committed, "")
    world.assign()
    start = OFFSET_BEGINNING if committed is None else committed
    assert world.group.told[-2:] == [("resume", [0]), ("seek", (0, start))]


def test_a_partition_of_which_nothing_is_fetched_yet_need_not_be_sought():
    world = World()
    world.group.seek_failure = KafkaError._STATE
    world.assign()
    assert 0 in world.parts.assignments


@pytest.mark.parametrize("committed", [None, 3])
def test_a_record_that_slipped_out_before_its_time_is_read_again_with_all_before_it(committed):
    world = World()
    if committed is not None:
        world.group.offsets[0] = (committed, "")
    world.parts.on_assign(world.group, [TopicPartition(TASKS, 0)])
    world.parts.openings.slipped(0)
    for _ in range(5):
        world.parts.open(world.group)
    assert ("seek", (0, OFFSET_BEGINNING if committed is None else committed)) in world.group.told


def test_what_was_handed_over_before_is_still_said_by_the_next_owner():
    world = World()
    until_ms = int(time.time() * 1_000) + 60_000
    world.logs.append(TASKS, 0, b"{}")
    world.group.offsets[0] = (0, encode_commit(0, [], Progress(0, 0, 0, handed_over=4, until_ms=until_ms)))
    world.assign()
    world.deliver(2, started=[0])
    world.revoke()
    said = progress_of(*world.group.offsets[0])
    assert (said.handed_over, said.running_at(until_ms - 1), said.running_at(until_ms + 60_001)) == (5, 5, 0)


def test_a_commit_whose_member_epoch_has_moved_on_is_sent_again():
    world = World()
    assignment = world.assign()
    world.deliver(2, started=[0, 1])
    world.done(assignment, 0, 1)
    world.group.refusals = [KafkaError.STALE_MEMBER_EPOCH] * 3
    assert world.parts.commit_now(world.group)
    assert world.group.offsets[0][0] == 2
    assert len(world.group.commits) == 4


def test_while_commits_fail_they_come_less_often_the_worker_says_so_and_then_takes_no_more(monkeypatch):
    world = World()
    assignment = world.assign()
    world.deliver(1, started=[0])
    world.done(assignment, 0)
    world.parts.settle()
    world.group.refusals = [KafkaError.COORDINATOR_NOT_AVAILABLE] * 1_000
    ends = time.monotonic() + 1.0
    while time.monotonic() < ends:
        world.parts.commit_if_due(world.group)
    assert 3 <= len(world.group.commits) <= 8, "10 ms, 20, 40, …"
    assert "cannot be committed" in world.parts.trouble()
    assert not world.parts.commits.stuck()
    monkeypatch.setattr(commits_module, "STUCK_S", 0.5)
    assert world.parts.commits.stuck()
    world.group.refusals = []
    assert world.parts.commit_now(world.group)
    assert world.parts.trouble() is None
    assert not world.parts.commits.stuck()


def test_commits_that_failed_for_partitions_that_are_gone_stop_no_intake_for_ever(monkeypatch):
    """After an outage the same partitions come back with nothing to commit: no answer would ever end the trouble."""
    monkeypatch.setattr(commits_module, "STUCK_S", 0.0)
    monkeypatch.setattr(commits_module, "COMMIT_LOST_S", 0.0)
    world = World()
    assignment = world.assign()
    world.deliver(1, started=[0])
    world.done(assignment, 0)
    world.parts.settle()
    world.parts.commit_if_due(world.group)
    time.sleep(0.02)
    world.parts.commit_if_due(world.group)
    assert world.parts.commits.stuck()
    world.parts.on_lost(world.group, [TopicPartition(TASKS, 0)])
    world.assign()
    time.sleep(0.05)
    world.parts.commit_if_due(world.group)
    assert not world.parts.commits.stuck()
    assert world.parts.trouble() is None

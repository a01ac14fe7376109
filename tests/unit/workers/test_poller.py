"""What a lane's thread hands over and commits when its consumer fails."""

from __future__ import annotations

from threading import Event

from confluent_kafka import KafkaError, TopicPartition

from headrace.runtime.health import Heartbeats
from headrace.schemas.messages import Lane
from headrace.workers.shell import poller as poller_module
from headrace.workers.shell.opening import Openings
from headrace.workers.shell.poller import LanePoller

from .kafka_fakes import FakeAdmin, FakeGroup, FakeLogs, FakeMessage, FakeReader

TASKS, JOURNAL = "t.tasks.p.batch", "t.attempts.p"


class Consumer(FakeGroup):
    """Assigns partition 0, and reads two records of it beside an error that ends the lane."""

    def __init__(self, config):
        super().__init__(TASKS)
        self.script = []

    def subscribe(self, topics, *, on_assign, on_revoke, on_lost):
        self.on_revoke = on_revoke
        gone = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        records = [FakeMessage(TASKS, 0, 7, value=b""), FakeMessage(TASKS, 0, 8, value=b"")]
        self.script = [lambda: on_assign(self, [TopicPartition(TASKS, 0)])]
        self.messages = [records[0], FakeMessage(TASKS, 0, -1, error=gone), records[1]]

    def poll(self, timeout):
        if self.script:
            self.script.pop()()
            return None
        resumed = ("resume", [0]) in self.told
        return self.messages.pop(0) if resumed and self.messages else None

    def consume(self, count, timeout):
        found, self.messages = self.messages, []
        self.positions[0] = 9
        return found

    def close(self):
        self.on_revoke(self, [TopicPartition(TASKS, 0)])


class Revoking(Consumer):
    """Gives a record, and takes its partition away before the next call returns."""

    def subscribe(self, topics, *, on_assign, on_revoke, on_lost):
        super().subscribe(topics, on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
        self.messages = [FakeMessage(TASKS, 0, 7, value=b"")]
        self.revoked = Event()

    def poll(self, timeout):
        found = super().poll(timeout)
        if found is not None:
            self.positions[0] = 8
        return found

    def consume(self, count, timeout):
        if not self.revoked.is_set():
            self.on_revoke(self, [TopicPartition(TASKS, 0)])
            self.revoked.set()
        return []

    def close(self):
        return


def a_poller(handed_over, failed):
    logs = FakeLogs()
    for _ in range(9):
        logs.append(TASKS, 0, b"")
    reader, admin = FakeReader(logs), FakeAdmin(logs)
    poller = LanePoller(
        {},
        Openings(topic=TASKS, journal=JOURNAL, pool="p", lane=Lane.BATCH, reader=reader, admin=admin),
        topic=TASKS,
        pool="p",
        lane=Lane.BATCH,
        capacity=10,
        commit_interval_ms=1,
        revoke_wait_s=0.0,
        gap_ms=3_000,
        hand_over=handed_over.extend,
        release=lambda assignments: [setattr(assignment, "released", True) for assignment in assignments],
        on_failure=failed.set,
        heartbeats=Heartbeats(),
    )
    poller._consumer.offsets[0] = (7, "")
    return poller


def committed_by(consumer):
    return max((offset for _, parts in consumer.commits for _, offset, _ in parts), default=0)


def test_records_that_come_with_an_error_that_ends_the_lane_are_handed_over_and_not_committed(monkeypatch):
    monkeypatch.setattr(poller_module, "Consumer", Consumer)
    handed_over, failed = [], Event()
    poller = a_poller(handed_over, failed)
    poller.start()
    assert failed.wait(10.0)
    assert poller.close(10.0)
    assert [delivery.offset for delivery in handed_over] == [7, 8]
    assert committed_by(poller._consumer) <= 7


def test_a_record_that_was_read_when_its_partition_went_is_the_next_owners(monkeypatch):
    """Its delivery comes after the callback, and the consumer's position is past it already (found by tests/chaos)."""
    monkeypatch.setattr(poller_module, "Consumer", Revoking)
    handed_over = []
    poller = a_poller(handed_over, Event())
    poller.start()
    assert poller._consumer.revoked.wait(10.0)
    assert poller.close(10.0)
    assert handed_over == []
    assert committed_by(poller._consumer) <= 7

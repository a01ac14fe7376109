"""What a worker learns about a partition before it reads the first task of it."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from headrace.schemas.codec import encode, schema_headers
from headrace.schemas.completed import Progress, encode_commit
from headrace.schemas.messages import Attempt, Lane, Result
from headrace.workers.shell import opening
from headrace.workers.shell.opening import FAR_RECORDS, SKEW_MS, Openings

from .kafka_fakes import FakeAdmin, FakeGroup, FakeLogs, FakeReader

TASKS, JOURNAL = "t.tasks.p.batch", "t.attempts.p"
HOUR_MS = 3_600_000


class World:
    def __init__(self):
        self.logs = FakeLogs()
        self.group, self.admin, self.reader = FakeGroup(TASKS), FakeAdmin(self.logs), FakeReader(self.logs)
        self.openings = Openings(
            topic=TASKS, journal=JOURNAL, pool="p", lane=Lane.BATCH, reader=self.reader, admin=self.admin
        )

    def tasks(self, count, *, at_ms=0):
        for _ in range(count):
            self.logs.append(TASKS, 0, b"{}", at_ms=at_ms)

    def note(self, offset, phase="started", *, at_ms=0):
        result = Result(task_id=f"j/s/{offset}", job_id="j", attempt=1) if phase == "ended" else None
        fields = {"phase": phase, "at_ms": at_ms, "worker": "w", "lane": Lane.BATCH, "offset": offset}
        value = encode(Attempt(task_id=f"j/s/{offset}", attempt=1, result=result, **fields))
        headers = [(name, text) for name, text in schema_headers(Attempt)]
        self.logs.append(JOURNAL, 0, value, at_ms=at_ms, headers=headers)

    def commit(self, offset, *, spans=(), journal=None):
        self.group.offsets[0] = (offset, encode_commit(offset, spans, Progress(offset, 0, journal)))

    def open(self, *, rounds=20, partitions=(0,)):
        self.openings.begin(partitions)
        return self.go_on(rounds)

    def go_on(self, rounds=20):
        opened = []
        for _ in range(rounds):
            opened += self.openings.advance(self.group)
        return opened


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(opening, "AGAIN_S", 0.0)
    return World()


def test_where_everything_is_done_the_journal_is_not_read(world):
    world.tasks(5)
    world.note(4, "ended")
    world.commit(5, journal=0)
    (opened,) = world.open()
    assert (opened.committed, opened.journal_next, len(opened.noted)) == (5, 1, 0)
    assert not world.reader.followed


def test_the_journal_is_read_from_where_the_commit_names_to_its_end(world):
    world.tasks(9)
    for offset in range(9):
        world.note(offset)
    world.note(6, "ended")
    world.commit(5, spans=[(7, 8)], journal=3)
    (opened,) = world.open()
    assert world.reader.followed == [(JOURNAL, 0, 3)]
    assert [offset for offset in range(9) if opened.noted.find(offset)] == [5, 6, 8]
    assert opened.noted.counts() == (1, 2)
    assert opened.journal_next == 10


def test_without_a_named_offset_the_first_undone_task_tells_the_time_from_which_the_journal_matters(world):
    world.tasks(3, at_ms=HOUR_MS)
    world.tasks(3, at_ms=3 * HOUR_MS)
    for offset, at_ms in ((0, HOUR_MS), (1, 2 * HOUR_MS), (3, 3 * HOUR_MS - SKEW_MS), (4, 3 * HOUR_MS)):
        world.note(offset, at_ms=at_ms)
    world.group.offsets[0] = (3, "what another version wrote")
    (opened,) = world.open()
    assert world.reader.followed == [(TASKS, 0, 3), (JOURNAL, 0, 2)]
    assert [offset for offset in range(9) if opened.noted.find(offset)] == [3, 4]
    assert opened.metadata == "what another version wrote"


def test_a_group_that_never_committed_is_opened_from_its_first_task(world):
    world.tasks(2, at_ms=HOUR_MS)
    world.note(0, at_ms=HOUR_MS)
    (opened,) = world.open()
    assert (opened.committed, opened.noted.counts()) == (None, (0, 1))


def test_an_offset_named_long_ago_by_an_idle_lane_gives_way_to_time(world):
    for _ in range(FAR_RECORDS):
        world.logs.append(JOURNAL, 0, b"", at_ms=1)
    world.tasks(1, at_ms=HOUR_MS)
    world.note(0, at_ms=HOUR_MS)
    world.commit(0, journal=0)
    (opened,) = world.open()
    assert world.reader.followed == [(TASKS, 0, 0), (JOURNAL, 0, FAR_RECORDS)]
    assert opened.noted.counts() == (0, 1)


def test_a_journal_that_was_made_anew_is_read_by_time(world):
    world.tasks(1, at_ms=HOUR_MS)
    world.note(0, at_ms=HOUR_MS)
    world.commit(0, journal=500)
    (opened,) = world.open()
    assert opened.noted.counts() == (0, 1)


def test_where_only_markers_are_left_nothing_is_waited_for(world):
    world.tasks(1)
    world.logs.mark(TASKS, 0)
    world.group.offsets[0] = (1, "")
    world.note(0)
    (opened,) = world.open()
    assert (opened.journal_next, len(opened.noted)) == (1, 0)


def test_records_that_cannot_be_read_are_passed_over_and_logged(world):
    world.tasks(2)
    world.commit(0, journal=0)
    world.logs.append(JOURNAL, 0, b"{no json")
    world.logs.append(JOURNAL, 0, None)
    world.logs.append(JOURNAL, 0, b"{}", headers=[("x-schema", b"result")])
    for _ in range(100):
        world.logs.append(JOURNAL, 0, b"\xff")
    world.note(1)
    with capture_logs() as logs:
        (opened,) = world.open()
    assert opened.noted.find(1)
    unread = [line for line in logs if line["event"] == "journal.unread"]
    assert [line["reason"] for line in unread[:3]] == ["invalid_json", "no_value", "wrong_schema"]
    assert len(unread) == opening.UNREAD_LOGGED
    assert [line["journal_records"] for line in logs if line["event"] == "partition.opened"] == [104]


@pytest.mark.parametrize("error", [KafkaError.STALE_MEMBER_EPOCH, KafkaError._TIMED_OUT, KafkaError._WAIT_COORD])
def test_a_coordinator_that_cannot_answer_now_is_asked_again_and_nothing_is_guessed(world, error):
    world.tasks(2)
    world.commit(1, journal=0)
    world.group.committed_failures = [error] * 3
    world.openings.begin([0])
    assert world.go_on(3) == []
    (opened,) = world.go_on()
    assert opened.committed == 1


def test_a_journal_without_a_leader_holds_its_partition_and_says_so(world, monkeypatch):
    monkeypatch.setattr(opening, "SLOW_S", -1.0)
    world.tasks(2)
    world.commit(1, journal=0)
    world.admin.failures = [KafkaError.LEADER_NOT_AVAILABLE] * 5
    world.openings.begin([0])
    assert world.go_on(3) == []
    assert "partition 0" in world.openings.trouble()
    assert "Leader not available" in world.openings.trouble()
    assert [one.committed for one in world.go_on()] == [1]
    assert world.openings.trouble() is None


def test_an_end_that_is_not_known_is_asked_for_again_and_the_journal_is_not_taken_for_empty(world):
    """Taken for an end, -1001 let a worker call for tasks that another had called for (found by tests/chaos)."""
    world.tasks(2)
    world.note(0)
    world.commit(0, journal=0)
    world.admin.unknown = 2
    (opened,) = world.open()
    assert opened.journal_next > 0
    assert opened.noted.counts() == (0, 1)


def test_an_admin_client_that_knows_the_leaders_of_yesterday_is_made_to_look_again(world):
    world.tasks(2)
    world.commit(1, journal=0)
    world.admin.leaders_known = False
    assert [one.committed for one in world.open()] == [1]
    assert world.admin.looked_up == [JOURNAL, TASKS]


@pytest.mark.parametrize("patient", [True, False])
def test_after_an_outage_ends_that_come_late_are_waited_for_and_otherwise_not(world, patient, monkeypatch):
    monkeypatch.setattr(opening, "LATE_ENDS_EVERY_S", 0.0)
    world.tasks(2)
    world.commit(0, journal=0)
    world.note(0)
    world.openings.begin([0], patient=patient)
    opened = world.go_on(10)
    if patient:
        assert not opened
        world.note(0, "ended")
        opened = world.go_on(10)
    assert opened[0].noted.counts() == ((1, 0) if patient else (0, 1))
    assert opened[0].journal_next == (2 if patient else 1)


def test_ends_that_never_come_are_not_waited_for_longer_than_a_little(world, monkeypatch):
    monkeypatch.setattr(opening, "LATE_ENDS_S", 0.1)
    world.tasks(1)
    world.commit(0, journal=0)
    world.note(0)
    world.openings.begin([0], patient=True)
    until = time.monotonic() + 5
    while not (opened := world.go_on(1)) and time.monotonic() < until:
        pass
    assert opened[0].noted.counts() == (0, 1)


def test_one_partition_that_waits_does_not_hold_another(world):
    world.logs.append(TASKS, 1, b"{}")
    world.logs.append(TASKS, 0, b"{}")
    world.commit(1, journal=0)
    world.group.offsets[1] = (1, "")
    world.admin.failures = [KafkaError.LEADER_NOT_AVAILABLE]
    world.openings.begin([0, 1])
    first = world.go_on(1)
    assert [one.partition for one in first] == [1]
    assert [one.partition for one in world.go_on()] == [0]


def test_a_partition_that_is_given_back_meanwhile_is_not_opened(world):
    world.tasks(2)
    world.note(0)
    world.commit(0, journal=0)
    world.openings.begin([0])
    world.go_on(1)
    world.openings.forget([0])
    assert world.go_on() == []
    assert not world.reader.open

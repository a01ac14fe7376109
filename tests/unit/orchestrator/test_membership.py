"""A place in the group that is lost and taken again, with consumers that do what a test says."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from headrace.orchestrator.shell import membership as membership_module
from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.membership import Membership
from headrace.schemas.topics import Topics

TOPICS = Topics("t")
PAIR = [TopicPartition(TOPICS.jobs, 0), TopicPartition(TOPICS.results, 0)]


class ScriptedConsumer:
    """Calls back as librdkafka would, when told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.close_s = 0.0
        self.generation = -1

    def subscribe(self, _topics: list[str], **callbacks: Any) -> None:
        self.calls.append("subscribe")
        self.callbacks = callbacks

    def assigned(self) -> None:
        self.callbacks["on_assign"](self, PAIR)

    def revoked(self) -> None:
        self.callbacks["on_revoke"](self, PAIR)

    def unsubscribe(self) -> None:
        self.calls.append("unsubscribe")

    def poll(self, _timeout: float) -> None:
        self.calls.append("poll")
        if "unsubscribe" in self.calls and self.calls.count("poll") == 1:
            self.revoked()

    def close(self) -> None:
        time.sleep(self.close_s)
        self.calls.append("close")

    def consumer_group_metadata(self) -> bytes:
        return b"CGMDv2:" + struct.pack("=i", self.generation) + b"g\0m\0\0"

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


@pytest.fixture
def made() -> list[ScriptedConsumer]:
    return []


@pytest.fixture
def membership(made: list[ScriptedConsumer]) -> Membership:
    def make(_config: Any) -> ScriptedConsumer:
        made.append(ScriptedConsumer())
        return made[-1]

    return Membership({}, Assignment(TOPICS, incremental=False), make=make)


def assignment_of(membership: Membership) -> Assignment:
    return membership._assignment


def test_a_place_that_is_taken_again_begins_with_nothing(membership: Membership, made: list[ScriptedConsumer]) -> None:
    assignment = assignment_of(membership)
    made[0].assigned()
    assert assignment.owned() == [0]
    assert assignment.changes() == ([0], [])
    membership.broken = True
    membership.rejoin()
    assert (made[0].calls[-1], made[1].calls) == ("close", ["subscribe"])
    assert not membership.broken
    assert not assignment.joined
    assert assignment.changes() == ([], [0])
    made[1].assigned()
    assert assignment.owned() == [0]


def test_a_consumer_that_was_given_up_takes_nothing_from_its_successor(
    membership: Membership, made: list[ScriptedConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership_module, "CLOSE_S", 0.05)
    made[0].assigned()
    made[0].close_s = 0.3
    membership.rejoin()
    made[1].assigned()
    assignment_of(membership).changes()
    made[0].revoked()  # From the thread that closes it, late.
    assert assignment_of(membership).owned() == [0]
    assert assignment_of(membership).changes() == ([], [])


def test_who_leaves_waits_until_the_partitions_are_given_back_and_the_request_is_out(
    membership: Membership, made: list[ScriptedConsumer]
) -> None:
    made[0].assigned()
    membership.leave()
    assert made[0].calls[-3:] == ["unsubscribe", "poll", "poll"]
    assert not assignment_of(membership).owned()


def test_a_member_for_whom_no_partition_is_left_has_joined_all_the_same(
    made: list[ScriptedConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under KIP-848 it hears of no assignment, and a deployment would wait for ever (found by tests/chaos)."""
    monkeypatch.setattr(membership_module, "EMPTY_S", 0.02)
    consumer = ScriptedConsumer()
    membership = Membership({}, Assignment(TOPICS, incremental=True), make=lambda _config: consumer)
    assert not membership.joined()
    consumer.generation = 3
    assert not membership.joined(), "its partitions may be on their way"
    time.sleep(0.03)
    assert membership.joined()
    consumer.generation = -1
    assert not membership.joined()


def test_a_member_is_not_ready_before_it_knows_its_partitions(
    membership: Membership, made: list[ScriptedConsumer]
) -> None:
    """The generation is known first: a process said for a moment that it was ready, and had nothing restored."""
    made[0].generation = 3
    assert not membership.joined()
    made[0].assigned()
    assert membership.joined()
    assert assignment_of(membership).has_changed()
    assignment_of(membership).changes()
    assert not assignment_of(membership).has_changed()

"""Offsets that an open transaction holds are told from a coordinator that does not answer."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.runtime import group_offsets
from headrace.runtime.group_offsets import OffsetsHeld, committed_offsets
from headrace.schemas.errors import DependencyUnavailable

PLACE = ("jobs", 0)


class Group:
    """A consumer that says what librdkafka says, and remembers what it was asked."""

    def __init__(self, *, answers: bool, held: bool) -> None:
        self.answers = answers
        self.held = held
        self.asked: list[tuple[str, float]] = []

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        (one,) = wanted
        self.asked.append((one.topic, timeout))
        if not self.answers or (self.held and one.topic == PLACE[0]):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out"))
        return [TopicPartition(one.topic, one.partition, 7)]


def committed(group: Any) -> dict[tuple[str, int], int]:
    return committed_offsets(group, [PLACE], held_s=0.5)


def test_offsets_are_asked_for_once() -> None:
    group = Group(answers=True, held=False)
    assert committed(group) == {PLACE: 7}
    assert group.asked == [("jobs", 0.5)]


def test_offsets_that_are_held_are_told_after_the_time_that_was_given() -> None:
    group = Group(answers=True, held=True)
    with pytest.raises(OffsetsHeld):
        committed(group)
    assert group.asked[0] == ("jobs", 0.5)


def test_a_coordinator_that_does_not_answer_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_offsets, "STALE_S", 0.1)
    group = Group(answers=False, held=True)
    with pytest.raises(DependencyUnavailable, match="timed out"):
        committed(group)
    assert ("jobs", 5.0) in group.asked, "a slow one is given more time"

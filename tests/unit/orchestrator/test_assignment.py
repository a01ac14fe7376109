"""Where an assigned partition begins before its restore has said where."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TopicPartition

from headrace.orchestrator.shell.assignment import Assignment
from headrace.schemas.topics import Topics

TOPICS = Topics("t")
PAIR = [TopicPartition(TOPICS.jobs, 2), TopicPartition(TOPICS.results, 2)]


class Noting:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[tuple[str, int]]]] = []

    def subscribe(self, _topics: list[str], **_: Any) -> None:
        return

    def assign(self, places: list[TopicPartition]) -> None:
        self.calls.append(("assign", [(place.topic, place.offset) for place in places]))

    def pause(self, places: list[TopicPartition]) -> None:
        self.calls.append(("pause", [(place.topic, place.partition) for place in places]))


def assigned(assignment: Assignment) -> Noting:
    consumer = Noting()
    assignment.subscribe(consumer)
    assignment.on_assign(consumer, PAIR)
    return consumer


def test_a_partition_begins_at_a_number_so_that_no_question_for_an_offset_can_win_over_the_restores_seek() -> None:
    assignment = Assignment(TOPICS, incremental=False)
    assert assigned(assignment).calls == [
        ("assign", [("t.jobs", 0), ("t.results", 0)]),
        ("pause", [("t.jobs", 2), ("t.results", 2)]),
    ]


def test_a_partition_that_comes_back_begins_where_its_log_was_known_to_be() -> None:
    assignment = Assignment(TOPICS, incremental=False)
    assignment.began_at(2, {TOPICS.jobs: 70, TOPICS.results: 90})
    assert assigned(assignment).calls[0] == ("assign", [("t.jobs", 70), ("t.results", 90)])

"""Following the group: where partitions stand until they are restored."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TopicPartition

from headrace.orchestrator.shell.assignment import Assignment
from headrace.schemas.topics import Topics


class Consumer:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[int]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda places: self.told.append((name, [place.offset for place in places]))


@pytest.mark.parametrize(("incremental", "assign"), [(False, "assign"), (True, "incremental_assign")])
def test_a_partition_is_assigned_at_a_number_and_then_paused(incremental: bool, assign: str) -> None:
    """At a logical offset a late answer from Kafka moves it to the end after the seek: jobs are never read."""
    topics = Topics("t.")
    consumer = Consumer()
    made = Assignment(topics, incremental=incremental)
    made.on_assign(consumer, [TopicPartition(topics.jobs, 0), TopicPartition(topics.results, 0)])
    assert [name for name, _ in consumer.told] == [assign, "pause"]
    assert all(offset >= 0 for offset in consumer.told[0][1])

"""What the cluster's metadata say about our topics."""

from __future__ import annotations

from headrace.runtime.kafka_watch import PartitionView, judge

NEEDED = {"state": 2}


def view(partition: int, *, leader: bool = True, in_sync: int = 3, topic: str = "state") -> PartitionView:
    return PartitionView(topic, partition, leader, in_sync)


def test_nothing_is_wrong_with_leaders_and_enough_replicas() -> None:
    assert judge([view(0), view(1, in_sync=2)], NEEDED) is None


def test_a_partition_without_a_leader_comes_before_one_without_replicas() -> None:
    found = judge([view(0, in_sync=1), view(1, leader=False, in_sync=0)], NEEDED)
    assert found is not None
    assert (found.kind, found.text) == ("no_leader", "no leader: state-1")


def test_too_few_replicas_are_named_with_both_numbers() -> None:
    found = judge([view(number, in_sync=1) for number in range(5)], NEEDED)
    assert found is not None
    assert found.kind == "too_few_replicas"
    assert found.text == "1 of 2 needed replicas in sync: state-0, state-1, state-2 and 2 more"


def test_a_topic_whose_need_is_not_known_needs_its_leader_only() -> None:
    assert judge([view(0, in_sync=1, topic="other")], NEEDED) is None

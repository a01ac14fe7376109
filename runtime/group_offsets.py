"""Committed offsets of a consumer's own group, asked again while the group is being rebalanced (kafka-mechanics B3)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.runtime.offsets import Place
from headrace.schemas.errors import DependencyUnavailable

STALE_S = 10.0
"""How long ``committed()`` is asked again while the group is being rebalanced."""

_ASK_AGAIN = frozenset(
    {
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._TRANSPORT,
    }
)


def committed_offsets(group: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    """Return the committed offset of each partition; −1001 where there is none.

    Args:
        group: a read_committed consumer; only then does Kafka wait for offsets of open transactions to be settled.
        places: the partitions.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    wanted = [TopicPartition(topic, partition) for topic, partition in places]
    deadline = time.monotonic() + STALE_S
    while True:
        try:
            found = group.committed(wanted, timeout=5)
            errors = [each.error for each in found if each.error is not None]
            if errors:
                raise KafkaException(errors[0])
            return {(each.topic, each.partition): each.offset for each in found}
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() not in _ASK_AGAIN or time.monotonic() > deadline:
                raise DependencyUnavailable(f"the group's offsets cannot be read: {cause.str()}") from None
            time.sleep(0.05)

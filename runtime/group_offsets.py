"""Committed offsets: of a consumer's own group, asked again while it is being rebalanced (kafka-mechanics B3), and of
other groups, read without joining them.

In a process that lives on, the admin client asks no group for anything. A question that times out, as in every outage
of the group's coordinator, ends the process by a failed assertion: ``rd_kafka_enq_once_del_source_return``, librdkafka
2.16, measured at nearly each restart of a broker. A consumer's own ``committed`` bears it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.runtime.kafka import MAX_POLL_INTERVAL_MS, group_config
from headrace.runtime.offsets import Place
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable

STALE_S = 10.0
"""How long ``committed()`` is asked again while the group is being rebalanced."""
ASK_S = 5.0

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


class OffsetsHeld(Exception):
    """An open transaction has sent offsets of these partitions, and what it comes to is not known yet."""


def committed_offsets(group: Consumer, places: Iterable[Place], *, held_s: float) -> dict[Place, int]:
    """Return the committed offset of each partition; −1001 where there is none.

    Args:
        group: a read_committed consumer; only then does Kafka wait for offsets of open transactions to be settled.
        places: the partitions.
        held_s: how long an open transaction is waited for.

    Raises:
        OffsetsHeld: it is still open.
        DependencyUnavailable: Kafka does not answer.
    """
    wanted = [TopicPartition(topic, partition) for topic, partition in places]
    deadline, timeout_s = time.monotonic() + STALE_S, held_s
    while True:
        try:
            found = group.committed(wanted, timeout=timeout_s)
            errors = [each.error for each in found if each.error is not None]
            if errors:
                raise KafkaException(errors[0])
            return {(each.topic, each.partition): each.offset for each in found}
        except KafkaException as error:
            cause = error.args[0]
            # The client asks on about offsets that are held, and says only that its time is over (librdkafka 2.16,
            # measured), as it does where nobody answers.
            if cause.code() == KafkaError._TIMED_OUT and _answers(group):
                raise OffsetsHeld from None
            if cause.code() not in _ASK_AGAIN or time.monotonic() > deadline:
                raise DependencyUnavailable(f"the group's offsets cannot be read: {cause.str()}") from None
            timeout_s = ASK_S
            time.sleep(0.05)


def _answers(group: Consumer) -> bool:
    """Return whether the coordinator answers about what no transaction holds."""
    try:
        group.committed([TopicPartition("none", 0)], timeout=0.5)
    except KafkaException:
        return False
    return True


class GroupReader:
    """Reads committed offsets and their metadata of groups that this process is no member of. Threads may share it.

    Args:
        settings: how to reach Kafka.
        service: for ``client.id``.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._consumers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def committed(self, group: str, places: Iterable[Place], *, timeout_s: float = 5.0) -> dict[Place, TopicPartition]:
        """Return what the group has committed, for places where it has.

        Raises:
            DependencyUnavailable: Kafka does not answer.
        """
        wanted = [TopicPartition(topic, partition) for topic, partition in places]
        if not wanted:
            return {}
        try:
            found = self._consumer(group).committed(wanted, timeout=timeout_s)
            errors = [each.error for each in found if each.error is not None]
            if errors:
                raise KafkaException(errors[0])
        except KafkaException as error:
            raise DependencyUnavailable(f"offsets of {group} cannot be read: {error.args[0].str()}") from None
        return {(each.topic, each.partition): each for each in found if each.offset >= 0}

    def closed(self, group: str, *, timeout_s: float = 5.0) -> bool:
        """Return whether we have no right to look at a group; False also where its coordinator does not answer now.

        librdkafka asks for a coordinator again and again where it may not know it, and only says so beside.
        """
        consumer, deadline = self._consumer(group), time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                consumer.committed([TopicPartition("none", 0)], timeout=0.5)
                return False
            except KafkaException as error:
                said = consumer.poll(0)
                codes = {error.args[0].code(), said.error().code() if said is not None and said.error() else None}
                if KafkaError.GROUP_AUTHORIZATION_FAILED in codes:
                    return True
        return False

    def close(self) -> None:
        """Drop the clients."""
        while self._consumers:
            self._consumers.popitem()[1].close()

    def _consumer(self, group: str) -> Any:
        """Return a consumer that knows the group's coordinator and never subscribes."""
        with self._lock:
            if group not in self._consumers:
                config = group_config(self._settings, self._service, group, instance=None, assignor="range")
                config.pop("group.protocol", None)
                # It is no member, but librdkafka wants this above its session timeout, also where a user set it lower.
                config["max.poll.interval.ms"] = MAX_POLL_INTERVAL_MS
                self._consumers[group] = Consumer(config)
            return self._consumers[group]

"""This instance's place in the group: its consumer, made anew where Kafka took the place away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException

from headrace.orchestrator.shell.assignment import Assignment
from headrace.runtime.bounded import within
from headrace.runtime.endings import group_generation
from headrace.runtime.kafka import ClientConfig

log = structlog.get_logger("headrace.orchestrator")

LEAVE_S = 2.0
"""How long a stop waits for the group to take the partitions back; without an answer they idle for a session."""
CLOSE_S = 10.0
POLL_S = 0.1
EMPTY_S = 1.0
"""After so long a member that heard of no partition has none. Those for whom there are some hear of them sooner."""


class Membership:
    """Owns the consumer; others use it through `consumer`, which may be another one after a `rejoin`.

    A consumer with a fatal error is of no use any more. The most common one is no fault of anybody: a static member
    that lost the group's answer with a broker joins again, and Kafka fences the place that it gave it first (measured:
    nearly every restart of the coordinator's broker). Only when it goes on does another process have our slot.

    Args:
        config: `runtime.kafka.group_config`.
        assignment: follows the group.
        make: builds the consumer.
    """

    def __init__(
        self,
        config: ClientConfig,
        assignment: Assignment,
        *,
        make: Callable[[ClientConfig], Any] = Consumer,
    ) -> None:
        self._config = config
        self._assignment = assignment
        self._make = make
        self.broken = False
        """Whether the consumer had a fatal error."""
        self._member_since: float | None = None
        """Since when the group is known to have taken us in without a word about partitions."""
        self.consumer: Any = make(config)
        assignment.subscribe(self.consumer)

    def metadata(self) -> Any:
        """Return the group metadata of this moment, for the offsets of a transaction."""
        return self.consumer.consumer_group_metadata()

    def joined(self) -> bool:
        """Whether the group has taken this instance in, be it with no partition.

        Its generation alone does not tell: it is known before its partitions are, and until they are restored nothing
        is worked. But under KIP-848 a member for whom none is left hears of no assignment at all.
        """
        if self._assignment.joined or not self._assignment.incremental:
            return self._assignment.joined
        if not self._is_member():
            self._member_since = None
        elif self._member_since is None:
            self._member_since = time.monotonic()
        return self._member_since is not None and time.monotonic() - self._member_since >= EMPTY_S

    def _is_member(self) -> bool:
        with suppress(KafkaException, RuntimeError):  # Closed at this moment: the health server asks from its thread.
            return group_generation(self.metadata()) > 0
        return False

    def rejoin(self) -> None:
        """Take a place in the group again."""
        self.close()
        self._assignment.lose_all()
        self._member_since = None
        self.consumer, self.broken = self._make(self._config), False
        self._assignment.subscribe(self.consumer)

    def leave(self) -> None:
        """Give the partitions back before the consumer is closed, so that another instance works them at once.

        Closing alone would keep them: a static member that closes says nothing to the group, and its partitions idle
        for the session timeout. `unsubscribe` of a client that is not being closed leaves (librdkafka 2.16,
        ``rd_kafka_cgrp_leave_maybe``).
        """
        self.consumer.unsubscribe()
        deadline = time.monotonic() + LEAVE_S
        while self._assignment.owned() and time.monotonic() < deadline:
            self.consumer.poll(POLL_S)
        self.consumer.poll(POLL_S)  # The request to leave goes out after the callback; `close` would hold it back.

    def close(self) -> None:
        """Drop the consumer; one that does not end in time is left behind, and its session runs out."""
        try:
            within(CLOSE_S, self.consumer.close)
        except TimeoutError:
            log.warning("consumer.left_behind")

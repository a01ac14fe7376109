"""Up to when the timers of a partition may fire: time passes for it only as its log is read (kafka-mechanics B5).

After an outage every deadline is overdue while the paid answers lie unread. So a timer fires only when ``results`` has
been read to the end seen at assignment, and then only when the last record read is at least as recent as its due time,
or the partition was at its end at a moment after it.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable

import structlog
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.offsets import ends
from headrace.schemas.errors import DependencyUnavailable

log = structlog.get_logger("headrace.orchestrator")

ASK_EVERY_S = 0.02
"""One request for all partitions; a timer is late by at most this where nothing flows."""
ASK_AGAIN_S = 1.0
"""After a question that Kafka did not answer."""


class LogClock:
    """Asks Kafka for the ends of ``results`` where records alone do not tell.

    Args:
        admin: for ``list_offsets``.
        results: the topic.
        membership: its consumer knows its position past trailing markers.
    """

    def __init__(self, admin: AdminClient, results: str, membership: Membership) -> None:
        self._admin = admin
        self._results = results
        self._membership = membership
        self._ask_at = 0.0
        self.silent = False
        """Whether Kafka left the last question unanswered."""

    def allow(self, partitions: Iterable[Partition], now_ms: int, unread: Container[int]) -> list[Partition]:
        """Return the partitions with a timer that is due and may fire; ask Kafka where that needs to be known.

        Args:
            partitions: those that are worked.
            now_ms: the time.
            unread: partitions of which results were fetched and are not decided yet.
        """
        due = [p for p in partitions if (at := p.store.next_due_ms()) is not None and at <= now_ms]
        unsure = [p for p in due if p.number not in unread and self.horizon_ms(p) < (p.store.next_due_ms() or 0)]
        if unsure and time.monotonic() >= self._ask_at:
            answered = self._look(unsure, now_ms)
            self._ask_at = time.monotonic() + (ASK_EVERY_S if answered else ASK_AGAIN_S)
        return [p for p in due if self.horizon_ms(p) >= (p.store.next_due_ms() or 0)]

    def horizon_ms(self, partition: Partition) -> int:
        """Return the time up to which the partition's timers may fire."""
        if partition.caught_up_ms == 0 and partition.next[self._results] < partition.results_end:
            return 0
        return max(partition.last_result_ms, partition.caught_up_ms)

    def _look(self, partitions: list[Partition], now_ms: int) -> bool:
        places = [(self._results, p.number) for p in partitions]
        try:
            end = ends(self._admin, places, timeout_s=2.0)
        except DependencyUnavailable as error:
            if not self.silent:
                log.warning("ends.unknown", error=error.message)
            self.silent = True
            return False
        self.silent = False
        position = self._membership.consumer.position
        positions = {tp.partition: tp.offset for tp in position([TopicPartition(*place) for place in places])}
        for partition in partitions:
            # Markers at the end of the log are read by the client and seen by nobody.
            read = max(partition.next[self._results], positions[partition.number])
            if read >= end[self._results, partition.number]:
                partition.caught_up_ms = now_ms
        return True

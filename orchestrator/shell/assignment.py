"""Which partitions this instance owns, and which of them it works (kafka-mechanics B1, B2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from confluent_kafka import TopicPartition

from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")


class Assignment:
    """Follows the group's rebalances. Its callbacks run inside ``poll``, on the loop's thread.

    A commit in flight is never interrupted by a revocation: the loop's one thread is either in a transaction or in
    ``poll``. Nothing is restored in a callback; the loop asks `changes` after each poll.

    Args:
        topics: names of the topics.
        incremental: whether the protocol is cooperative (KIP-848), so that ``assign`` means "in addition".
    """

    def __init__(self, topics: Topics, *, incremental: bool) -> None:
        self._pair = frozenset({topics.jobs, topics.results})
        self._consumer: Any = None
        """Who is listened to. One that was given up may still call from the thread that closes it."""
        self.incremental = incremental
        self._held: dict[int, set[str]] = {}
        self._epochs: dict[int, int] = {}
        self._places: dict[tuple[str, int], int] = {}
        self._arrived: dict[int, None] = {}
        self._departed: dict[int, None] = {}
        self.joined = False
        """Whether the group has assigned anything yet, be it nothing."""

    def subscribe(self, consumer: Any) -> None:
        """Subscribe to exactly ``jobs`` and ``results``, for ever: range co-partitions only then (B1)."""
        self._consumer = consumer
        consumer.subscribe(sorted(self._pair), on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    def lose_all(self) -> None:
        """Let everything go: the consumer that held it is no member any more."""
        self.joined, self._consumer = False, None
        self._let_go([TopicPartition(topic, p) for p, topics in self._held.items() for topic in sorted(topics)])

    def epoch(self, partition: int) -> int:
        """Return a number that changes whenever the partition comes or goes."""
        return self._epochs.get(partition, 0)

    def owned(self) -> list[int]:
        """Return the partitions of which both topics are assigned."""
        return sorted(p for p, topics in self._held.items() if topics == self._pair)

    def pair(self, partition: int) -> list[TopicPartition]:
        """Return the two partitions behind a state partition."""
        return [TopicPartition(topic, partition) for topic in sorted(self._pair)]

    def has_changed(self) -> bool:
        """Return whether partitions came or went since the last call of `changes`."""
        return bool(self._arrived or self._departed)

    def changes(self) -> tuple[list[int], list[int]]:
        """Return partitions that came (both topics now here) and went since the last call; one may be in both."""
        arrived = [p for p in self._arrived if self._held.get(p, set()) == self._pair]
        departed = list(self._departed)
        self._arrived.clear()
        self._departed.clear()
        return arrived, departed

    def began_at(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Note an offset of each topic that its log still had a moment ago."""
        self._places.update({(topic, partition): offset for topic, offset in offsets.items()})

    def _known(self, place: TopicPartition) -> int:
        return self._places.get((place.topic, place.partition), 0)

    # ── Callbacks ────────────────────────────────────────────────────────────────────────────────────────────────

    def on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Assign first and pause after: a pause before it is silently ignored (B2).

        They begin at a number, never at "end" or "beginning": the restore seeks to the true offset, and a question for
        a logical offset that is still on its way then is asked again half a second later and wins over the seek
        (librdkafka 2.16, ``rd_kafka_toppar_handle_Offset``). Jobs were skipped that way after an outage (measured).
        What a fetch brings before the pause is thrown away, by the client or by `Input`.
        """
        if consumer is not self._consumer:
            return
        placed = [TopicPartition(each.topic, each.partition, self._known(each)) for each in partitions]
        if self.incremental:
            consumer.incremental_assign(placed)
        else:
            consumer.assign(placed)
        if placed:
            consumer.pause(placed)
        for each in partitions:
            self._held.setdefault(each.partition, set()).add(each.topic)
            self._arrived[each.partition] = None
            self._turn_over(each.partition)
        self.joined = True  # Not before they are known to have come: the health server asks from its thread.
        log.info("partitions.assigned", partitions=_numbers(partitions))

    def on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Let go. What is in memory stays warm for when the partition comes back (B1)."""
        if consumer is not self._consumer:
            return
        self._let_go(partitions)  # The client unassigns by itself after a callback that does not.
        log.info("partitions.revoked", partitions=_numbers(partitions))

    def on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Let go: another instance may own them already."""
        if consumer is not self._consumer:
            return
        self._let_go(partitions)
        log.warning("partitions.lost", partitions=_numbers(partitions))

    def _let_go(self, partitions: Iterable[TopicPartition]) -> None:
        for each in partitions:
            self._held.get(each.partition, set()).discard(each.topic)
            self._arrived.pop(each.partition, None)
            self._departed[each.partition] = None
            self._turn_over(each.partition)

    def _turn_over(self, partition: int) -> None:
        self._epochs[partition] = self._epochs.get(partition, 0) + 1


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted({each.partition for each in partitions})

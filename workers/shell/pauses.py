"""Which partitions of a lane are read: one place that pauses and resumes. Used by the poller's thread alone.

A partition is paused while the lane's buffer is full, while its commit's metadata has no room (crowded), and until
what the journal says about it is known (opening). Kafka forgets a pause with the assignment.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition


class Pauses:
    """Pauses and resumes the partitions of one topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._paused: set[int] = set()
        self.lane = False
        """Whether the whole lane is paused."""
        self.crowded: set[int] = set()
        """Partitions whose metadata is nearly full."""

    def apply(self, consumer: Consumer, *, ready: Iterable[int], opening: Iterable[int]) -> None:
        """Pause and resume what differs from what is wanted.

        Args:
            ready: partitions that may be read.
            opening: partitions that may not be read yet.
        """
        wanted = dict.fromkeys(opening, True) | {part: self.lane or part in self.crowded for part in ready}
        pause = [part for part, paused in wanted.items() if paused and part not in self._paused]
        resume = [part for part, paused in wanted.items() if not paused and part in self._paused]
        if pause:
            consumer.pause([TopicPartition(self._topic, part) for part in pause])
        if resume:
            consumer.resume([TopicPartition(self._topic, part) for part in resume])
        self._paused = {part for part, paused in wanted.items() if paused}

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are assigned anew or not any more."""
        for part in partitions:
            self._paused.discard(part)
            self.crowded.discard(part)

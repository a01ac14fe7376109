"""Commits of one consumer's offsets: at most one under way, each partition's answer looked at, trouble told.

A refused commit is due again. While commits fail, they are tried less often, up to every `MAX_INTERVAL_S`, and after
`STUCK_S` the lane takes no more work: what cannot be committed would be worked on again by the next owner.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from headrace.runtime import metrics
from headrace.schemas.messages import Lane
from headrace.workers.core.offsets import Commit, OffsetTracker
from headrace.workers.shell.kafka_errors import ASK_AGAIN

log = structlog.get_logger("headrace.commits")

COMMIT_LOST_S = 10.0
"""A commit without an answer for so long is taken as failed."""
MAX_INTERVAL_S = 5.0
AGAIN_S = 3.0
"""How long a commit that is waited for is tried again, for example while a member's epoch moves on."""
STUCK_S = 30.0
LOG_EVERY_S = 10.0


class OffsetCommits:
    """Commits what a tracker says. Everything but `trouble` belongs to the poller's thread.

    Args:
        interval_ms: a commit at most this often.
    """

    def __init__(self, tracker: OffsetTracker, *, topic: str, pool: str, lane: Lane, interval_ms: int) -> None:
        self._tracker = tracker
        self._topic = topic
        self._interval_s = interval_ms / 1_000
        self._wait_s = self._interval_s
        self._next = 0.0
        self._under_way: tuple[float, list[Commit]] | None = None
        self._failing: tuple[float, str] | None = None
        self._logged = 0.0
        self._counts = {outcome: metrics.COMMITS.labels(pool, lane.value, outcome) for outcome in ("ok", "failed")}

    def due(self) -> bool:
        """Return whether a commit may begin now; one that was never answered counts as failed."""
        now = time.monotonic()
        if now < self._next:
            return False
        if self._under_way is not None:
            if now - self._under_way[0] < COMMIT_LOST_S:
                return False
            commits, self._under_way = self._under_way[1], None
            self._refuse(commits, "no answer")
        return True

    def begin(self, consumer: Consumer, partitions: Iterable[int]) -> None:
        """Begin a commit of what has changed."""
        now = time.monotonic()
        self._next = now + self._wait_s
        if not (commits := self._changed(consumer, partitions)):
            # What was refused went with its partition: nothing waits for a commit, and none would come to end the
            # trouble while it lets no work in.
            self._failing, self._wait_s = None, self._interval_s
            return
        try:
            consumer.commit(offsets=self._offsets(commits), asynchronous=True)
            self._under_way = (now, commits)
        except KafkaException as error:
            self._refuse(commits, error.args[0].str())

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the answer of an asynchronous commit; each partition has its own error."""
        if self._under_way is None:
            return
        commits, self._under_way = self._under_way[1], None
        failed = {part.partition: part.error for part in partitions if part.error}
        if error is not None and not failed:
            failed = dict.fromkeys((commit.partition for commit in commits), error)
        self._settle(commits, failed)

    def commit_now(self, consumer: Consumer, partitions: Iterable[int], *, in_callback: bool = False) -> bool:
        """Commit and wait for the answer, bounded by `AGAIN_S` and the socket's timeout; return whether it stands.

        Args:
            in_callback: whether the client is in the middle of a poll. Its position is then past records that it has
                not returned yet: they are the next owner's, as are trailing markers.
        """
        if self._under_way is not None:
            # Its answer comes through poll(), which does not run now: the same offsets are simply sent again.
            for commit in self._under_way[1]:
                self._tracker.refused(commit)
            self._under_way = None
        wanted, deadline = list(partitions), time.monotonic() + AGAIN_S
        while commits := self._tracker.committable(wanted) if in_callback else self._changed(consumer, wanted):
            failed = self._send(consumer, commits)
            self._settle(commits, failed)
            if not failed:
                break
            if time.monotonic() > deadline or not all(error.code() in ASK_AGAIN for error in failed.values()):
                return False
            time.sleep(0.05)
        return True

    def trouble(self) -> str | None:
        """Return what is wrong, or None."""
        failing = self._failing
        if failing is None:
            return None
        return f"offsets of {self._topic} cannot be committed for {time.monotonic() - failing[0]:.0f} s: {failing[1]}"

    def stuck(self) -> bool:
        """Return whether commits fail for so long that no more work is to be taken."""
        return self._failing is not None and time.monotonic() - self._failing[0] > STUCK_S

    def _send(self, consumer: Consumer, commits: list[Commit]) -> dict[int, KafkaError]:
        try:
            answer = consumer.commit(offsets=self._offsets(commits), asynchronous=False)
        except KafkaException as error:
            return dict.fromkeys((commit.partition for commit in commits), error.args[0])
        return {part.partition: part.error for part in answer or () if part.error}

    def _changed(self, consumer: Consumer, partitions: Iterable[int]) -> list[Commit]:
        wanted = list(partitions)
        if wanted:
            # Trailing markers have no record; only the position says that they were passed.
            for part in consumer.position([TopicPartition(self._topic, number) for number in wanted]):
                if part.offset >= 0:
                    self._tracker.advance(part.partition, part.offset)
        return self._tracker.committable(wanted)

    def _offsets(self, commits: list[Commit]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, one.partition, one.offset, metadata=one.metadata) for one in commits]

    def _settle(self, commits: list[Commit], failed: dict[int, KafkaError]) -> None:
        taken = [commit for commit in commits if commit.partition not in failed]
        for commit in taken:
            self._tracker.committed(commit)
        if taken:
            self._counts["ok"].inc()
        if failed:
            refused = [commit for commit in commits if commit.partition in failed]
            self._refuse(refused, next(iter(failed.values())).str())
        elif taken:
            self._failing, self._wait_s = None, self._interval_s

    def _refuse(self, commits: list[Commit], reason: str) -> None:
        for commit in commits:
            self._tracker.refused(commit)
        now = time.monotonic()
        self._counts["failed"].inc()
        self._failing = (self._failing[0] if self._failing else now, reason)
        self._wait_s = min(self._wait_s * 2, max(self._interval_s, MAX_INTERVAL_S))
        if now - self._logged > LOG_EVERY_S:
            self._logged = now
            log.warning("offsets.refused", topic=self._topic, partitions=len(commits), reason=reason)

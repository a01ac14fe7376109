"""One consumer's partitions: assignment, opening, revocation, loss. All of it runs in the poller's thread.

On assignment partitions are assigned, paused after that (a pause before is ignored), and opened in the poller's rounds
(`opening.py`). On revocation what has not started is let go, and what runs may end within the revoke wait; what then
still runs is handed over: it counts as done in the last commit, its calls are finished here, and the next owner passes
it over (docs/kafka-mechanics, C5). A partition that is lost commits nothing; its calls run on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, Consumer, KafkaException, TopicPartition

from headrace.runtime import metrics
from headrace.schemas.messages import Lane
from headrace.workers.core.lease import Lease
from headrace.workers.core.offsets import OffsetTracker
from headrace.workers.shell.commits import OffsetCommits
from headrace.workers.shell.delivery import Assignment, Inbox, clock_ms
from headrace.workers.shell.opening import Opened, Openings
from headrace.workers.shell.pauses import Pauses

log = structlog.get_logger("headrace.partitions")

OUTAGE_S = 60.0
"""A member that lost its partitions so lately was cut off from Kafka, and so probably were the others."""

Partitions = list[TopicPartition]


class LanePartitions:
    """Tracks what one consumer owns.

    Args:
        revoke_wait_s: inside a revocation nothing else is polled, so this is short.
        release: asks the pool to leave what it has not started of the given assignments, and to say so on each of
            them; called from this thread.
    """

    def __init__(
        self,
        *,
        topic: str,
        pool: str,
        lane: Lane,
        commit_interval_ms: int,
        revoke_wait_s: float,
        openings: Openings,
        lease: Lease,
        release: Callable[[list[Assignment]], None],
    ) -> None:
        self.tracker = OffsetTracker()
        self.assignments: dict[int, Assignment] = {}
        """Partitions that are open."""
        self.openings = openings
        self.inbox = Inbox()
        self.commits = OffsetCommits(self.tracker, topic=topic, pool=pool, lane=lane, interval_ms=commit_interval_ms)
        self.pauses = Pauses(topic)
        self.ready = False
        self.leaving = False
        """Whether this process is about to end: then nothing is handed over to it."""
        self._topic = topic
        self._revoke_wait_s = revoke_wait_s
        self._lease = lease
        self._lost_at = -OUTAGE_S
        self._release = release
        self._handed_over = metrics.HANDED_OVER.labels(pool, lane.value)

    def on_assign(self, consumer: Consumer, partitions: Partitions) -> None:
        """Take partitions over, paused until they are open."""
        numbers = [part.partition for part in partitions]
        consumer.incremental_assign([TopicPartition(self._topic, number, OFFSET_STORED) for number in numbers])
        self.pauses.forget(numbers)
        self.openings.begin(numbers, patient=time.monotonic() < self._lost_at + OUTAGE_S)
        self.pause_or_resume(consumer)
        self.ready = True
        self._note("assigned", numbers)

    def on_revoke(self, consumer: Consumer, partitions: Partitions) -> None:
        """Give partitions back: let go what has not started, wait a little for the rest, commit, return."""
        gone = [self.assignments[part.partition] for part in partitions if part.partition in self.assignments]
        for assignment in gone:
            assignment.alive = False
        if gone:
            self._release(gone)
            self._wait_for(gone)
            # What the pool has not let go yet may be unstarted: it stays undone.
            kept = [] if self.leaving else [assignment for assignment in gone if assignment.released]
            handed_over = self._hand_over(kept)
            numbers = [assignment.partition for assignment in gone]
            stands = self.commits.commit_now(consumer, numbers, in_callback=True)
            for assignment in gone:
                # What is not handed over is the next owner's: here no call of it begins any more.
                assignment.ours = stands and assignment in kept
            self._note_hand_over(kept, handed_over, stands)
        self._forget(consumer, partitions, "revoked")

    def on_lost(self, consumer: Consumer, partitions: Partitions) -> None:
        """Forget partitions that others may own already: nothing may be committed."""
        gone = [self.assignments[part.partition] for part in partitions if part.partition in self.assignments]
        for assignment in gone:
            assignment.alive = assignment.ours = False
        if gone:
            self._release(gone)
        self._lost_at = time.monotonic()
        self._forget(consumer, partitions, "lost")

    def open(self, consumer: Consumer) -> None:
        """Go on with opening, and read what is open.

        Raises:
            DependencyUnavailable: the journal may not be read.
        """
        if not len(self.openings):
            return
        opened = self.openings.advance(consumer)
        for one in opened:
            self._take_over(consumer, one)
        self.pause_or_resume(consumer)
        for one in opened:
            self._wake(consumer, one)

    def settle(self) -> None:
        """Take over what was begun, done and let go since the last call."""
        inbox, tracker = self.inbox, self.tracker
        for _ in range(len(inbox.begun)):
            tracker.begin(*inbox.begun.popleft())
        complete, done = tracker.complete, inbox.done
        for _ in range(len(done)):
            complete(*done.popleft())
        for _ in range(len(inbox.dropped)):
            tracker.drop(*inbox.dropped.popleft())

    def commit_if_due(self, consumer: Consumer) -> None:
        """Begin a commit where one is due, and stop reading partitions whose metadata is nearly full."""
        if self.commits.due():
            self._watch_crowding(consumer)
            self.commits.begin(consumer, self.assignments)

    def commit_now(self, consumer: Consumer) -> bool:
        """Commit what is done and wait for the answer; return whether it stands."""
        self.settle()
        return self.commits.commit_now(consumer, self.assignments)

    def pause_or_resume(self, consumer: Consumer) -> None:
        """Let Kafka know which partitions are read."""
        self.pauses.apply(consumer, ready=self.assignments, opening=self.openings)

    def trouble(self) -> str | None:
        """Return what is wrong, or None."""
        return self.commits.trouble() or self.openings.trouble()

    def _take_over(self, consumer: Consumer, opened: Opened) -> None:
        epoch = self.tracker.assign(
            opened.partition,
            committed=opened.committed,
            metadata=opened.metadata,
            journal_next=opened.journal_next,
            noted=opened.noted,
        )
        self.assignments[opened.partition] = Assignment(opened.partition, epoch, self._lease)
        if opened.slipped:
            self._seek(consumer, opened)

    def _wake(self, consumer: Consumer, opened: Opened) -> None:
        """Have a partition fetched at once: a client that has nothing else to fetch looks again only after a second.

        librdkafka 2.16 tells its broker's thread of a seek, and not that a partition is read again (measured).
        """
        with suppress(KafkaException):  # It does not fetch at all yet; then it begins by itself.
            self._seek(consumer, opened)

    def _seek(self, consumer: Consumer, opened: Opened) -> None:
        start = OFFSET_BEGINNING if opened.committed is None else opened.committed
        consumer.seek(TopicPartition(self._topic, opened.partition, start))

    def _wait_for(self, gone: list[Assignment]) -> None:
        """Wait until what runs of these has ended, or the bound is reached."""
        deadline = time.monotonic() + (0.0 if self.leaving else self._revoke_wait_s)
        while True:
            self._lease.beat(clock_ms())
            self.settle()
            released = all(assignment.released for assignment in gone)
            if released and not any(self.tracker.running_in(assignment.partition) for assignment in gone):
                return
            if time.monotonic() >= deadline:
                return
            time.sleep(0.002)

    def _hand_over(self, gone: list[Assignment]) -> int:
        """Count what still runs as done."""
        now_ms = int(time.time() * 1_000)
        return sum(
            self.tracker.hand_over(assignment.partition, until_ms=assignment.until_ms, now_ms=now_ms)
            for assignment in gone
        )

    def _note_hand_over(self, gone: list[Assignment], handed_over: int, stands: bool) -> None:
        if not handed_over:
            return
        until_ms = max(assignment.until_ms for assignment in gone)
        if stands:
            self._handed_over.inc(handed_over)
        event = "calls.handed_over" if stands else "calls.not_handed_over"
        log.info(event, topic=self._topic, tasks=handed_over, until_ms=until_ms)

    def _forget(self, consumer: Consumer, partitions: Partitions, event: str) -> None:
        numbers = [part.partition for part in partitions]
        for number in numbers:
            self.tracker.revoke(number)
            self.assignments.pop(number, None)
        self.openings.forget(numbers)
        self.pauses.forget(numbers)
        consumer.incremental_unassign(partitions)
        self._note(event, numbers)

    def _watch_crowding(self, consumer: Consumer) -> None:
        crowded = {part for part in self.assignments if self.tracker.crowded(part)}
        if crowded != self.pauses.crowded:
            log.info("partitions.crowded", topic=self._topic, partitions=sorted(crowded))
            self.pauses.crowded = crowded
            self.pause_or_resume(consumer)

    def _note(self, event: str, partitions: Iterable[int]) -> None:
        owned = len(self.assignments) + len(self.openings)
        metrics.REBALANCES.labels(self._topic, event).inc()
        metrics.PARTITIONS.labels(self._topic).set(owned)
        log.info(f"partitions.{event}", topic=self._topic, partitions=sorted(partitions), owned=owned)

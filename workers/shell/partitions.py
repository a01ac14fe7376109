"""One consumer's partitions: assignment, revocation, and commits. All of it runs in the poller's thread.

On assignment the committed offset and its metadata are read first, so that what was done before a crash is skipped;
then the partitions are assigned, and paused after that where the lane is paused (a pause before is ignored).
On revocation what runs may end for up to `REVOKE_WAIT_S`; then what is done is committed, before the callback returns.
(Offsets that still run then go into the metadata as ``running_until``: next issue, mechanics C5.)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog
from confluent_kafka import OFFSET_STORED, Consumer, KafkaError, KafkaException, TopicPartition

from headrace.runtime import metrics
from headrace.schemas.messages import Lane
from headrace.workers.core.offsets import Commit, OffsetTracker
from headrace.workers.shell.delivery import Assignment, Done

log = structlog.get_logger("headrace.partitions")

REVOKE_WAIT_S = 5.0
COMMITTED_TIMEOUT_S = 5.0
COMMIT_LOST_S = 10.0
"""A commit without an answer for so long is taken as failed."""

Partitions = list[TopicPartition]


class LanePartitions:
    """Tracks what one consumer owns.

    Args:
        release: asks the pool to leave what it has not started of the given assignments; called from this thread.
    """

    def __init__(
        self,
        *,
        topic: str,
        pool: str,
        lane: Lane,
        commit_interval_ms: int,
        release: Callable[[list[Assignment]], None],
    ) -> None:
        self.tracker = OffsetTracker()
        self.assignments: dict[int, Assignment] = {}
        self.done: deque[Done] = deque()
        self.dropped: deque[Done] = deque()
        self.generation = 0
        """Counts assignments: a batch during whose reading it moved is looked at more closely."""
        self.lane_paused = False
        self.ready = False
        self._topic = topic
        self._interval_s = commit_interval_ms / 1_000
        self._release = release
        self._crowded: set[int] = set()
        self._next_commit = 0.0
        self._committing: tuple[float, list[Commit]] | None = None
        self._commits = {outcome: metrics.COMMITS.labels(pool, lane.value, outcome) for outcome in ("ok", "failed")}

    def on_assign(self, consumer: Consumer, partitions: Partitions) -> None:
        """Take partitions over, from their committed offsets and metadata."""
        for found in self._read_committed(consumer, partitions):
            known = found.offset >= 0 and not found.error
            epoch = self.tracker.assign(
                found.partition,
                committed=found.offset if known else None,
                metadata=found.metadata if known else None,
            )
            self.assignments[found.partition] = Assignment(found.partition, epoch)
        self.generation += 1
        consumer.incremental_assign([TopicPartition(self._topic, part.partition, OFFSET_STORED) for part in partitions])
        if self.lane_paused:
            consumer.pause(partitions)
        self.ready = True
        self._note("assigned", partitions)

    def on_revoke(self, consumer: Consumer, partitions: Partitions) -> None:
        """Give partitions back: let go what has not started, wait a little for the rest, commit, return."""
        gone = [self.assignments[part.partition] for part in partitions if part.partition in self.assignments]
        for assignment in gone:
            assignment.alive = False
        if gone:
            self._release(gone)
            self._wait_for([assignment.partition for assignment in gone])
            self.commit_now(consumer, [assignment.partition for assignment in gone])
        self._forget(consumer, partitions, "revoked")

    def on_lost(self, consumer: Consumer, partitions: Partitions) -> None:
        """Forget partitions that others may own already: nothing may be committed."""
        for part in partitions:
            if assignment := self.assignments.get(part.partition):
                assignment.alive = False
                self._release([assignment])
        self._forget(consumer, partitions, "lost")

    def settle(self) -> None:
        """Take over what was done, and what was let go, since the last call."""
        done, complete = self.done, self.tracker.complete
        for _ in range(len(done)):
            complete(*done.popleft())
        for _ in range(len(self.dropped)):
            self.tracker.drop(*self.dropped.popleft())

    def commit_if_due(self, consumer: Consumer) -> None:
        """Begin a commit where one is due and none is under way."""
        now = time.monotonic()
        if now < self._next_commit:
            return
        if self._committing is not None:
            if now - self._committing[0] < COMMIT_LOST_S:
                return
            self._settle_commit(False, "no answer")
        self._next_commit = now + self._interval_s
        self._watch_crowding(consumer)
        commits = self._due(consumer, self.assignments)
        if not commits:
            return
        try:
            consumer.commit(offsets=self._offsets(commits), asynchronous=True)
            self._committing = (now, commits)
        except KafkaException as error:
            self._refuse(commits, error.args[0].str())

    def on_commit(self, error: KafkaError | None, partitions: Partitions) -> None:
        """Take the answer of an asynchronous commit; each partition has its own error."""
        if self._committing is None:
            return
        failed = {part.partition: part.error for part in partitions if part.error}
        if error is not None and not failed:
            self._settle_commit(False, error.str())
            return
        commits, self._committing = self._committing[1], None
        self._take([commit for commit in commits if commit.partition not in failed])
        if refused := [commit for commit in commits if commit.partition in failed]:
            self._refuse(refused, str(next(iter(failed.values()))))

    def commit_now(self, consumer: Consumer, partitions: Iterable[int] | None = None) -> bool:
        """Commit what is done and wait for the answer (bounded by the session's timeout); return whether it stands."""
        self.settle()
        wanted = list(self.assignments if partitions is None else partitions)
        if self._committing is not None:
            # Its answer comes through poll(), which does not run now: the same offsets are simply sent again.
            self._refuse(self._committing[1], "")
            self._committing = None
        commits = self._due(consumer, wanted)
        if not commits:
            return True
        try:
            answer = consumer.commit(offsets=self._offsets(commits), asynchronous=False)
        except KafkaException as error:
            self._refuse(commits, error.args[0].str())
            return False
        failed = {part.partition for part in answer or () if part.error}
        self._take([commit for commit in commits if commit.partition not in failed])
        self._refuse([commit for commit in commits if commit.partition in failed], "refused")
        return not failed

    def every(self) -> Partitions:
        """Return all partitions that may be read: those not crowded."""
        return [TopicPartition(self._topic, part) for part in self.assignments if part not in self._crowded]

    def _read_committed(self, consumer: Consumer, partitions: Partitions) -> Partitions:
        wanted = [TopicPartition(self._topic, part.partition) for part in partitions]
        try:
            return consumer.committed(wanted, timeout=COMMITTED_TIMEOUT_S)
        except KafkaException as error:
            # Reading starts at the committed offset all the same; only what is done above it is not known.
            log.warning("offsets.unread", topic=self._topic, reason=error.args[0].str())
            return wanted

    def _wait_for(self, partitions: list[int]) -> None:
        """Wait until what runs of these partitions has ended, or the bound is reached."""
        deadline = time.monotonic() + REVOKE_WAIT_S
        while time.monotonic() < deadline:
            self.settle()
            if not any(map(self.tracker.running_in, partitions)):
                return
            time.sleep(0.002)
        log.info("partitions.left_running", topic=self._topic, tasks=sum(map(self.tracker.running_in, partitions)))

    def _forget(self, consumer: Consumer, partitions: Partitions, event: str) -> None:
        for part in partitions:
            self.tracker.revoke(part.partition)
            self.assignments.pop(part.partition, None)
            self._crowded.discard(part.partition)
        consumer.incremental_unassign(partitions)
        self._note(event, partitions)

    def _due(self, consumer: Consumer, partitions: Iterable[int]) -> list[Commit]:
        wanted = list(partitions)
        if wanted:
            # Trailing markers have no record; only the position says that they were passed.
            for part in consumer.position([TopicPartition(self._topic, number) for number in wanted]):
                if part.offset >= 0:
                    self.tracker.advance(part.partition, part.offset)
        return self.tracker.committable(wanted)

    def _offsets(self, commits: list[Commit]) -> Partitions:
        return [TopicPartition(self._topic, one.partition, one.offset, metadata=one.metadata) for one in commits]

    def _watch_crowding(self, consumer: Consumer) -> None:
        """Stop reading partitions whose metadata is nearly full, and read on where it has room again."""
        for part in self.assignments:
            crowded = self.tracker.crowded(part)
            if crowded == (part in self._crowded):
                continue
            where = [TopicPartition(self._topic, part)]
            if crowded:
                self._crowded.add(part)
                consumer.pause(where)
            else:
                self._crowded.discard(part)
                if not self.lane_paused:
                    consumer.resume(where)
            log.info("partition.crowded" if crowded else "partition.cleared", topic=self._topic, partition=part)

    def _settle_commit(self, taken: bool, reason: str) -> None:
        assert self._committing is not None
        commits, self._committing = self._committing[1], None
        self._take(commits) if taken else self._refuse(commits, reason)

    def _take(self, commits: list[Commit]) -> None:
        for commit in commits:
            self.tracker.committed(commit)
        if commits:
            self._commits["ok"].inc()

    def _refuse(self, commits: list[Commit], reason: str) -> None:
        for commit in commits:
            self.tracker.refused(commit)
        if commits and reason:
            self._commits["failed"].inc()
            log.warning("offsets.refused", topic=self._topic, partitions=len(commits), reason=reason)

    def _note(self, event: str, partitions: Partitions) -> None:
        metrics.REBALANCES.labels(self._topic, event).inc()
        metrics.PARTITIONS.labels(self._topic).set(len(self.assignments))
        listed = sorted(part.partition for part in partitions)
        log.info(f"partitions.{event}", topic=self._topic, partitions=listed, owned=len(self.assignments))

"""One thread for each lane: it owns the lane's consumer, and nothing else touches that consumer.

Round after round: take over completions, commit if due, open what was assigned, then read only what the buffer has
room for, and hand it over in one go. Polling never waits for work: with no room it stays away for up to a second (the
prefetch stays), then pauses and polls on, so the group never takes a busy worker for a dead one (docs/kafka-mechanics,
C1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Message

from headrace.runtime import metrics
from headrace.runtime.health import Heartbeats
from headrace.runtime.kafka import ClientConfig
from headrace.schemas.errors import DependencyUnavailable, HeadraceError
from headrace.schemas.messages import Lane
from headrace.workers.core.lease import Lease
from headrace.workers.core.limits import BufferGate, Intake
from headrace.workers.shell.delivery import Assignment, Delivery, clock_ms
from headrace.workers.shell.kafka_errors import look_at
from headrace.workers.shell.opening import Openings
from headrace.workers.shell.partitions import LanePartitions

log = structlog.get_logger("headrace.poller")

POLL_S = 0.05
"""A record ends the wait at once; without one, completions wait no longer than this for their commit."""
PAUSED_POLL_S = 0.01
OPENING_POLL_S = 0.002
NAP_S = 0.002
CONSUMER_OPTIONS: ClientConfig = {
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.queue.backoff.ms": 5,
    # Bounds the commit inside a revocation.
    "socket.timeout.ms": 10_000,
}


class LanePoller:
    """Reads one lane of one pool.

    Args:
        config: options of a group consumer.
        openings: opens what is assigned to that consumer.
        capacity: most records of this lane delivered and not done.
        gap_ms: see `Lease`.
        hand_over: takes one batch; called from this thread.
        release: see `LanePartitions`.
        on_failure: called from this thread when the lane cannot go on; `failure` says why.
    """

    def __init__(
        self,
        config: ClientConfig,
        openings: Openings,
        *,
        topic: str,
        pool: str,
        lane: Lane,
        capacity: int,
        commit_interval_ms: int,
        revoke_wait_s: float,
        gap_ms: int,
        hand_over: Callable[[list[Delivery]], None],
        release: Callable[[list[Assignment]], None],
        on_failure: Callable[[], None],
        heartbeats: Heartbeats,
    ) -> None:
        self._lease = Lease(gap_ms)
        self.partitions = LanePartitions(
            topic=topic,
            pool=pool,
            lane=lane,
            commit_interval_ms=commit_interval_ms,
            revoke_wait_s=revoke_wait_s,
            openings=openings,
            lease=self._lease,
            release=release,
        )
        self.failure: HeadraceError | None = None
        self._topic = topic
        self._lane = lane
        self._gate = BufferGate(capacity)
        self._hand_over = hand_over
        self._on_failure = on_failure
        self._heartbeats = heartbeats
        self._paused_gauge = metrics.PAUSED.labels(pool, lane.value)
        self._no_intake = Event()
        self._stop = Event()
        self._consumer = Consumer({**config, **CONSUMER_OPTIONS, "on_commit": self.partitions.commits.on_commit})
        self._thread = Thread(target=self._run, name=f"poller-{lane.value}", daemon=True)

    def start(self) -> None:
        """Join the group and read."""
        self._thread.start()

    def stop_intake(self) -> None:
        """Read no more, but stay in the group and go on committing."""
        self._no_intake.set()

    def close(self, timeout_s: float) -> bool:
        """Commit what is done and leave the group; return whether it ended in time."""
        self._no_intake.set()
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        consumer, parts = self._consumer, self.partitions
        try:
            consumer.subscribe(
                [self._topic], on_assign=parts.on_assign, on_revoke=parts.on_revoke, on_lost=parts.on_lost
            )
            while not self._stop.is_set():
                self._round(consumer)
            parts.leaving = True
            parts.commit_now(consumer)
        except Exception as error:
            self._fail(error)
        finally:
            parts.leaving = True
            self._heartbeats.forget(f"poller-{self._lane.value}")
            consumer.close()
            parts.openings.close()

    def _round(self, consumer: Consumer) -> None:
        parts = self.partitions
        self._heartbeats.beat(f"poller-{self._lane.value}")
        self._lease.beat(clock_ms())
        parts.settle()
        parts.commit_if_due(consumer)
        if self._no_intake.is_set():
            self._pause_lane(consumer, True)
            self._take(consumer, 0, PAUSED_POLL_S)
            return
        parts.open(consumer)
        self._read(consumer)

    def _read(self, consumer: Consumer) -> None:
        parts = self.partitions
        incomplete = parts.tracker.incomplete
        match self._gate.decide(incomplete, clock_ms()):
            case Intake.TAKE if not parts.commits.stuck():
                self._pause_lane(consumer, False)
                self._take(consumer, self._gate.room(incomplete), OPENING_POLL_S if len(parts.openings) else POLL_S)
            case Intake.STAY_AWAY:
                time.sleep(NAP_S)
            case _:
                self._pause_lane(consumer, True)
                self._take(consumer, 0, PAUSED_POLL_S)

    def _pause_lane(self, consumer: Consumer, paused: bool) -> None:
        if self.partitions.pauses.lane != paused:
            self.partitions.pauses.lane = paused
            self._paused_gauge.set(int(paused))
            self.partitions.pause_or_resume(consumer)

    def _take(self, consumer: Consumer, room: int, wait_s: float) -> None:
        """Wait for a first record, then take what else is there: consume(n, t) alone would wait for all n."""
        if (first := consumer.poll(wait_s)) is None:
            return
        messages = [first]
        if room > 1:
            messages += consumer.consume(min(room - 1, 10_000), 0)
        self._deliver(messages)

    def _deliver(self, messages: list[Message]) -> None:
        parts = self.partitions
        batch = []
        for message in messages:
            if (error := message.error()) is not None:
                look_at(error, self._topic)
                continue
            partition, offset = _place(message)
            assignment = parts.assignments.get(partition)
            if assignment is None:
                # Of a partition that is gone, or came back while this batch was read: then it is read again from its
                # beginning, because to skip a record would count it as done.
                if partition in parts.openings:
                    parts.openings.slipped(partition)
            elif parts.tracker.deliver(partition, offset):
                noted = parts.tracker.noted(partition, offset)
                batch.append(Delivery(self._lane, message, offset, assignment, parts.inbox, noted))
        if batch:
            self._hand_over(batch)

    def _fail(self, error: Any) -> None:
        if isinstance(error, HeadraceError):
            self.failure = error
        elif isinstance(error, KafkaException):
            self.failure = DependencyUnavailable(f"cannot read {self._topic}: {error.args[0].str()}")
        else:
            log.error("poller.crashed", exc_info=error)
            self.failure = HeadraceError(f"the poller of {self._topic} crashed: {type(error).__name__}", "see the log")
        self._on_failure()


def _place(message: Message) -> tuple[int, int]:
    """Return partition and offset; an error event may have neither."""
    partition, offset = message.partition(), message.offset()
    return (-1 if partition is None else partition, -1 if offset is None else offset)

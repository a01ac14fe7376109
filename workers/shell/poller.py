"""One thread for each lane: it owns the lane's consumer, and nothing else touches that consumer.

Round after round: take over completions, commit if due, then read only what the buffer has room for, and hand it over
in one go. Polling never waits for work: with no room it stays away for up to a second (the prefetch stays), then
pauses and polls on, so the group never takes a busy worker for a dead one (docs/kafka-mechanics, C1).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.runtime import metrics
from headrace.runtime.health import Heartbeats
from headrace.runtime.kafka import ClientConfig
from headrace.schemas.errors import DependencyUnavailable, HeadraceError
from headrace.schemas.messages import Lane
from headrace.workers.core.limits import BufferGate, Intake
from headrace.workers.shell.delivery import Assignment, Delivery
from headrace.workers.shell.partitions import LanePartitions

log = structlog.get_logger("headrace.poller")

POLL_S = 0.05
"""A record ends the wait at once; without one, completions wait no longer than this for their commit."""
NAP_S = 0.002
CONSUMER_OPTIONS: ClientConfig = {
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.queue.backoff.ms": 5,
    # Bounds the commit inside a revocation.
    "socket.timeout.ms": 10_000,
}
PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
DENIED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})


class LanePoller:
    """Reads one lane of one pool.

    Args:
        config: options of a group consumer.
        capacity: most records of this lane delivered and not done.
        hand_over: takes one batch; called from this thread.
        release: see `LanePartitions`.
        on_failure: called from this thread when the lane cannot go on; `failure` says why.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        topic: str,
        pool: str,
        lane: Lane,
        capacity: int,
        commit_interval_ms: int,
        hand_over: Callable[[list[Delivery]], None],
        release: Callable[[list[Assignment]], None],
        on_failure: Callable[[], None],
        heartbeats: Heartbeats,
    ) -> None:
        self.partitions = LanePartitions(
            topic=topic, pool=pool, lane=lane, commit_interval_ms=commit_interval_ms, release=release
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
        self._consumer = Consumer({**config, **CONSUMER_OPTIONS, "on_commit": self.partitions.on_commit})
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
                self._heartbeats.beat(f"poller-{self._lane.value}")
                self._round(consumer)
            parts.commit_now(consumer)
        except Exception as error:
            self._fail(error)
        finally:
            self._heartbeats.forget(f"poller-{self._lane.value}")
            consumer.close()

    def _round(self, consumer: Consumer) -> None:
        parts = self.partitions
        parts.settle()
        parts.commit_if_due(consumer)
        was_paused = self._gate.paused
        if self._no_intake.is_set():
            self._set_paused(consumer, True)
            self._take(consumer, 0, POLL_S / 5)
            return
        match self._gate.decide(parts.tracker.incomplete, time.monotonic_ns() // 1_000_000):
            case Intake.TAKE:
                if was_paused:
                    self._set_paused(consumer, False)
                self._take(consumer, self._gate.room(parts.tracker.incomplete), POLL_S)
            case Intake.STAY_AWAY:
                time.sleep(NAP_S)
            case Intake.POLL_PAUSED:
                self._set_paused(consumer, True)
                self._take(consumer, 0, POLL_S / 5)

    def _set_paused(self, consumer: Consumer, paused: bool) -> None:
        if self.partitions.lane_paused == paused:
            return
        self.partitions.lane_paused = paused
        self._paused_gauge.set(int(paused))
        if where := self.partitions.every():
            (consumer.pause if paused else consumer.resume)(where)

    def _take(self, consumer: Consumer, room: int, wait_s: float) -> None:
        """Wait for a first record, then take what else is there: consume(n, t) alone would wait for all n."""
        parts = self.partitions
        generation, epochs = parts.generation, {part: one.epoch for part, one in parts.assignments.items()}
        messages: list[Message] = []
        if (first := consumer.poll(wait_s)) is not None:
            messages.append(first)
            if room > 1:
                messages += consumer.consume(min(room - 1, 10_000), 0)
        if messages:
            if generation != parts.generation:
                messages = self._without_stale(consumer, messages, epochs)
            self._deliver(messages)

    def _deliver(self, messages: list[Message]) -> None:
        parts = self.partitions
        batch = []
        for message in messages:
            if (error := message.error()) is not None:
                self._look_at(error)
                continue
            partition, offset = _place(message)
            assignment = parts.assignments.get(partition)
            if assignment is not None and parts.tracker.deliver(partition, offset):
                batch.append(Delivery(self._lane, message, offset, assignment, parts.done, parts.dropped))
        if batch:
            self._hand_over(batch)

    def _without_stale(self, consumer: Consumer, messages: list[Message], epochs: dict[int, int]) -> list[Message]:
        """Drop records of partitions that were assigned while the batch was read, and read those partitions again.

        Such a record may be of the time before, and to skip one would count it as done.
        """
        kept: list[Message] = []
        again: dict[int, int] = {}
        for message in messages:
            partition, offset = _place(message)
            now = self.partitions.assignments.get(partition)
            if message.error() is None and now is not None and epochs.get(partition) != now.epoch:
                again[partition] = min(again.get(partition, offset), offset)
            else:
                kept.append(message)
        for partition, offset in again.items():
            consumer.seek(TopicPartition(self._topic, partition, offset))
        return kept

    def _look_at(self, error: KafkaError) -> None:
        """Pass over what librdkafka recovers from by itself; anything else ends the worker with a clear message."""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise DependencyUnavailable(f"topic {self._topic} does not exist any more", "headrace topics apply")
        if error.fatal() or error.code() in DENIED:
            raise DependencyUnavailable(f"cannot read {self._topic}: {error.str()}", "see docs/operations.md, ACLs")
        level = log.debug if error.code() in PASSING else log.warning
        level("poll.failed", topic=self._topic, reason=error.str())

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

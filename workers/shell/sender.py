"""Sends results and the journal: one idempotent producer, one thread that polls it. Result first, then offset.

A delivery is finished only when Kafka has acknowledged all of its records. While Kafka takes none, everything is kept
and librdkafka tries on with backoff: `trouble` says so. After `GIVE_UP_S`, or when Kafka refuses a record for good,
the worker ends with an error: its offsets are not committed, so the tasks are read again by the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Literal

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.runtime import metrics
from headrace.runtime.health import Heartbeats
from headrace.runtime.kafka import ClientConfig
from headrace.schemas.codec import Record
from headrace.schemas.errors import DependencyUnavailable, HeadraceError

log = structlog.get_logger("headrace.sender")

GIVE_UP_S = 900.0
"""A broker outage of a quarter of an hour is outlived."""
STALLED_S = 2.0
"""Without an acknowledgement for so long nothing more is started: its start could not be written down either."""
SLOW_S = 10.0
"""Without an acknowledgement for so long the worker says that it has trouble."""
HOLD_S = 0.02
"""What is answered while others are on their way goes together once they have arrived, or after this long at the
latest: one broker of many that hangs must not hold up what the others would take."""
AGAIN_S = 1.0
"""A refused record is sent again after this long: librdkafka has its own backoff for all that it tries itself."""

TRY_AGAIN = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        # While brokers come back, or a topic has just grown, their metadata may lack it.
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
"""What passes. librdkafka tries on by itself and reports few of them, since messages do not time out here."""

Kind = Literal["started", "given_up", "ended", "answer"]
"""``started`` and ``given_up`` (its end without a call): a journal record alone; ``ended``: one with its result;
``answer``: a result or dead letter alone."""

Finish = Callable[[int], None]
"""Told the offset that the first record of a delivery was written at, from the producer's thread."""


@dataclass(slots=True, eq=False)
class _Sending:
    """Records that together settle one delivery, at most two. Only the producer's thread counts them down."""

    sender: ResultSender
    records: tuple[Record, ...]
    left: int
    kind: Kind
    finish: Finish
    sent: float
    at: int = -1
    """Where the first of them was written."""

    def first_delivered(self, error: KafkaError | None, message: Message) -> None:
        """Take what became of the first record."""
        if error is not None:
            self.sender.not_delivered(self, 0, error)
            return
        self.at = message.offset() or 0
        self._count_down()

    def second_delivered(self, error: KafkaError | None, _: Message) -> None:
        """Take what became of the second record."""
        if error is not None:
            self.sender.not_delivered(self, 1, error)
            return
        self._count_down()

    def _count_down(self) -> None:
        self.left -= 1
        if not self.left:
            self.finish(self.at)
            self.sender.acknowledged(self.kind)


class ResultSender:
    """Owns the producer.

    Deliveries go in waves, as Nagle's algorithm sends (RFC 896): the first at once, and what is answered until it has
    arrived goes together. librdkafka makes a request for each partition that has something to send, and a request
    costs the broker more than the ten records in it; so waves grow with the load, and a single answer waits for nobody.

    Args:
        config: options of an idempotent producer.
        pool: for metrics.
        on_failure: called once, from any thread, when a record cannot be delivered.
        give_up_s: see `GIVE_UP_S`.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        pool: str,
        on_failure: Callable[[], None],
        heartbeats: Heartbeats,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        options = {
            # A millisecond: without it each result is a request of its own (7,600 tasks/s where it makes 9,800).
            "linger.ms": 1,
            "queue.buffering.max.messages": 1_000_000,
            # For ever: a record that timed out would have to be sent anew, and might then be there twice.
            "message.timeout.ms": 0,
        }
        self._producer = Producer({**config, **options})
        self._on_failure = on_failure
        self._heartbeats = heartbeats
        self._give_up_s = give_up_s
        self._undelivered = metrics.UNDELIVERED.labels(pool)
        self._results = metrics.RESULTS.labels(pool)
        self._journal = {phase: metrics.JOURNAL.labels(pool, phase) for phase in ("started", "ended")}
        self._uncounted: dict[Kind, int] = {"started": 0, "given_up": 0, "ended": 0, "answer": 0}
        self._waiting: deque[tuple[_Sending, int]] = deque()
        """What is to be produced again: the producer's queue was full, or Kafka refused it for the moment."""
        self._again_at = 0.0
        self._lock = Lock()
        """Of the next two, which the event loop and the producer's thread change. Never held while producing."""
        self._flying = 0
        """Deliveries that were given to the producer and are not settled."""
        self._gathered: list[_Sending] = []
        """The next wave."""
        self._oldest: deque[_Sending] = deque()
        """By when they were sent; those that are settled are taken off in the thread's rounds."""
        self._stalled = False
        self._stopping = Event()
        self._unsettled = 0
        self._settled = 0
        self.failure: HeadraceError | None = None
        self._thread = Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, *records: Record, finish: Finish, kind: Kind) -> None:
        """Send records that together settle one delivery; ``finish`` runs when all are acknowledged.

        Called from the event loop only. It never blocks: what the producer's queue has no room for waits here, and
        the number that waits is bounded by the buffers of the lanes.
        """
        self._unsettled += 1
        sending = _Sending(self, records, len(records), kind, finish, time.monotonic())
        self._oldest.append(sending)
        with self._lock:
            if self._flying:
                self._gathered.append(sending)
                return
            self._flying = 1
        for number in range(len(records)):
            self._produce(sending, number)

    @property
    def outstanding(self) -> int:
        """Deliveries that are sent and not acknowledged."""
        return self._unsettled - self._settled

    @property
    def stalled(self) -> bool:
        """Whether Kafka took nothing when the producer's thread last looked."""
        return self._stalled

    def trouble(self) -> str | None:
        """Return what is wrong, or None."""
        waits_s = self._waits_s()
        if waits_s < SLOW_S:
            return None
        return f"Kafka has not taken {self.outstanding} results or journal records, the oldest for {waits_s:.0f} s"

    def close(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged, then stop; return whether it was."""
        deadline = time.monotonic() + timeout_s
        while self.outstanding and self.failure is None and time.monotonic() < deadline:
            time.sleep(0.002)
        self._stopping.set()
        self._thread.join(5.0)
        self._producer.purge(blocking=False)
        return not self.outstanding

    def acknowledged(self, kind: Kind) -> None:
        """Count a delivery that is settled (producer's thread)."""
        self._settled += 1
        self._uncounted[kind] += 1
        with self._lock:
            self._flying -= 1
            if self._flying:
                return
        self._send_wave()

    def _send_wave(self) -> None:
        """Send what was gathered (producer's thread)."""
        with self._lock:
            wave, self._gathered = self._gathered, []
            self._flying += len(wave)
        for sending in wave:
            for number in range(len(sending.records)):
                self._produce(sending, number)

    def not_delivered(self, sending: _Sending, number: int, error: KafkaError) -> None:
        """Try again or end the worker (producer's thread)."""
        topic = sending.records[number].topic
        if error.code() not in TRY_AGAIN or error.fatal():
            self._fail(f"Kafka does not take records on {topic}: {error.str()}")
            return
        log.warning("result.delayed", topic=topic, reason=error.str())
        self._again_at = time.monotonic() + AGAIN_S
        self._waiting.append((sending, number))

    def _waits_s(self) -> float:
        """Return for how long the oldest delivery waits."""
        try:
            oldest = self._oldest[0]
        except IndexError:
            return 0.0
        return time.monotonic() - oldest.sent if oldest.left else 0.0

    def _fail(self, message: str) -> None:
        if self.failure is None:
            hint = "the tasks concerned stay undone and are read again by the next worker"
            self.failure = DependencyUnavailable(message, hint)
            log.error("sender.failed", reason=message)
            self._on_failure()

    def _produce(self, sending: _Sending, number: int) -> bool:
        """Give a record to the producer; return whether it took it."""
        record = sending.records[number]
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                on_delivery=sending.second_delivered if number else sending.first_delivered,
                headers=[*record.headers],
            )
        except BufferError:
            self._waiting.append((sending, number))
            return False
        except KafkaException as error:
            self._fail(f"Kafka does not take records on {record.topic}: {error.args[0].str()}")
        return True

    def _count(self) -> None:
        """Bring the metrics up to date: once a round, because a count costs as much as an acknowledgement."""
        self._undelivered.set(self.outstanding)
        for kind, number in self._uncounted.items():
            if number:
                self._uncounted[kind] = 0
                if kind != "answer":
                    self._journal["started" if kind == "started" else "ended"].inc(number)
                if kind in ("ended", "answer"):
                    self._results.inc(number)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._round()
        self._heartbeats.forget("sender")

    def _round(self) -> None:
        self._heartbeats.beat("sender")
        self._producer.poll(0.01 if self._waiting else HOLD_S if self._flying else 0.1)
        if self._gathered and time.monotonic() - self._gathered[0].sent > HOLD_S:
            self._send_wave()
        if self._waiting and time.monotonic() >= self._again_at:
            for _ in range(len(self._waiting)):
                if not self._produce(*self._waiting.popleft()):
                    break
        while self._oldest and not self._oldest[0].left:
            self._oldest.popleft()
        self._count()
        self._stalled = self._waits_s() > STALLED_S
        if self._waits_s() > self._give_up_s:
            self._fail(f"Kafka has taken no record for {self._give_up_s:.0f} s; {self.outstanding} wait")

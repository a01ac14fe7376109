"""Sends results: one idempotent producer, one thread that polls it. Result first, then offset.

A delivery is finished only when Kafka has acknowledged all of its records; a record that Kafka refuses for good ends
the worker, because its offset must not be marked done and it must not be forgotten.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from headrace.runtime import metrics
from headrace.runtime.health import Heartbeats
from headrace.runtime.kafka import ClientConfig
from headrace.schemas.codec import Record
from headrace.schemas.errors import HeadraceError

log = structlog.get_logger("headrace.sender")

MAX_TRIES = 3
"""Each try is `message.timeout.ms` long, so a broker outage of a quarter of an hour is outlived."""

TRY_AGAIN = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


@dataclass(slots=True, eq=False)
class _Pending:
    """Records that together settle one delivery. Only the producer's thread counts it down."""

    left: int
    finish: Callable[[], None]


@dataclass(slots=True, eq=False)
class _Sending:
    """One record on its way."""

    sender: ResultSender
    record: Record
    pending: _Pending
    tries: int = 1

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.sender.not_delivered(self, error)
            return
        pending = self.pending
        pending.left -= 1
        if not pending.left:
            pending.finish()
            self.sender.acknowledged()


class ResultSender:
    """Owns the producer.

    Args:
        config: options of an idempotent producer.
        pool: for metrics.
        on_failure: called once, from the producer's thread, when a record cannot be delivered.
    """

    def __init__(
        self, config: ClientConfig, *, pool: str, on_failure: Callable[[], None], heartbeats: Heartbeats
    ) -> None:
        # A millisecond: without it each result is a request of its own (7,600 tasks/s where it makes 9,800).
        self._producer = Producer({**config, "linger.ms": 1, "queue.buffering.max.messages": 1_000_000})
        self._on_failure = on_failure
        self._heartbeats = heartbeats
        self._acknowledged = metrics.RESULTS.labels(pool)
        self._waiting: deque[_Sending] = deque()
        self._stopping = Event()
        self._unsettled = 0
        self._settled = 0
        self.failure: HeadraceError | None = None
        self._thread = Thread(target=self._run, name="sender", daemon=True)
        self._thread.start()

    def send(self, *records: Record, finish: Callable[[], None]) -> None:
        """Send records that together settle one delivery; ``finish`` runs when all are acknowledged.

        Called from the event loop only. It never blocks: what the producer's queue has no room for waits here, and
        the number that waits is bounded by the buffers of the lanes.
        """
        self._unsettled += 1
        pending = _Pending(len(records), finish)
        for record in records:
            self._produce(_Sending(self, record, pending))

    @property
    def outstanding(self) -> int:
        """Deliveries that are sent and not acknowledged."""
        return self._unsettled - self._settled

    def close(self, timeout_s: float) -> bool:
        """Wait until everything is acknowledged, then stop; return whether it was."""
        deadline = time.monotonic() + timeout_s
        while self.outstanding and self.failure is None and time.monotonic() < deadline:
            time.sleep(0.002)
        self._stopping.set()
        self._thread.join(5.0)
        self._producer.purge(blocking=False)
        return not self.outstanding

    def acknowledged(self) -> None:
        """Count a delivery that is settled (producer's thread)."""
        self._settled += 1
        self._acknowledged.inc()

    def not_delivered(self, sending: _Sending, error: KafkaError) -> None:
        """Try again or end the worker (producer's thread)."""
        if error.code() in TRY_AGAIN and sending.tries < MAX_TRIES and not error.fatal():
            sending.tries += 1
            log.warning("result.delayed", reason=error.str(), tries=sending.tries)
            self._waiting.append(sending)
            return
        self._fail(f"Kafka does not take records on {sending.record.topic}: {error.str()}")

    def _fail(self, message: str) -> None:
        if self.failure is None:
            hint = "the tasks concerned stay undone and are read again by the next worker"
            self.failure = HeadraceError(message, hint)
            log.error("sender.failed", reason=message)
            self._on_failure()

    def _produce(self, sending: _Sending) -> None:
        record = sending.record
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                on_delivery=sending.delivered,
                headers=[*record.headers],
            )
        except BufferError:
            self._waiting.append(sending)
        except KafkaException as error:
            self._fail(f"Kafka does not take records on {record.topic}: {error.args[0].str()}")

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._heartbeats.beat("sender")
            self._producer.poll(0.01 if self._waiting else 0.1)
            for _ in range(len(self._waiting)):
                self._produce(self._waiting.popleft())
        self._heartbeats.forget("sender")

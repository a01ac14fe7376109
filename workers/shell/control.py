"""Follows the `control` topic: standing orders, of which a worker obeys the cancellation of jobs and of single tasks.

Without a group, from the beginning: the topic is compacted, and a tombstone lifts an order. It is read to its end
before intake, so that no task of a cancelled job is started because the order was not known yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from headrace.runtime.health import Heartbeats
from headrace.runtime.kafka import ClientConfig, headers_of
from headrace.runtime.letters import Source, source_of
from headrace.schemas.codec import header_map
from headrace.schemas.errors import ContractError, DependencyUnavailable
from headrace.workers.core.orders import JOB_PREFIX, TASK_PREFIX, read_order

log = structlog.get_logger("headrace.control")

FIRST = 0
"""Where the log begins, or did: a number is fetched at once, and the question for "the beginning", asked before the
client knows the leader, is asked again only half a second later (librdkafka 2.16, measured). Where records were deleted
from the front, the reader is sent on to the first that is left (``auto.offset.reset``)."""


class ControlFollower:
    """Knows the jobs that are cancelled.

    Args:
        config: options of a reader without a group.
        on_cancel: told each newly cancelled job, from the follower's thread.
        set_aside: told each record that is no order, from the follower's thread.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        topic: str,
        on_cancel: Callable[[str], None],
        set_aside: Callable[[Source, ContractError], None],
        heartbeats: Heartbeats,
    ) -> None:
        self._config = config
        self._topic = topic
        self._on_cancel = on_cancel
        self._set_aside = set_aside
        self._heartbeats = heartbeats
        self._cancelled: set[str] = set()
        self._called_off: set[str] = set()
        self._caught_up = Event()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="control", daemon=True)

    def is_cancelled(self, job_id: str) -> bool:
        """Return whether a job is cancelled, as far as is known here."""
        return job_id in self._cancelled

    def is_called_off(self, task_id: str) -> bool:
        """Return whether a task is not wanted any more, though its job runs: a call that runs already is let run, since
        it is paid anyway and its bill is to be known.
        """
        return task_id in self._called_off

    def start(self, timeout_s: float) -> None:
        """Follow, and return once the topic is read to its end.

        Raises:
            DependencyUnavailable: its end is not reached in time.
        """
        self._thread.start()
        deadline = time.monotonic() + timeout_s
        while not self._caught_up.wait(0.05):
            if time.monotonic() > deadline:
                self.close()
                raise DependencyUnavailable(
                    f"topic {self._topic} could not be read to its end within {timeout_s:g} s",
                    "see headrace doctor; the topic needs a leader and the worker read access",
                )
        log.info("control.read", cancelled_jobs=len(self._cancelled))

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        # One partition by the catalogue, so that orders have one sequence.
        consumer = Consumer({**self._config, "queued.max.messages.kbytes": 1_024})
        consumer.assign([TopicPartition(self._topic, 0, FIRST)])
        try:
            while not self._stop.is_set():
                self._heartbeats.beat("control")
                for message in consumer.consume(1_000, 0.05):
                    self._take(message)
        finally:
            self._heartbeats.forget("control")
            consumer.close()

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._caught_up.set()
            return
        headers = headers_of(message)
        try:
            subject, order = read_order(message.key(), message.value(), header_map(headers))
        except ContractError as problem:
            self._unreadable(source_of(message, headers), problem)
            return
        if subject.startswith(TASK_PREFIX):
            task_id = subject[len(TASK_PREFIX) :]
            if order is None:
                self._called_off.discard(task_id)
            elif order.action == "cancel":
                self._called_off.add(task_id)
        if not subject.startswith(JOB_PREFIX):
            return
        job_id = subject[len(JOB_PREFIX) :]
        if order is None:
            self._cancelled.discard(job_id)
        elif order.action == "cancel" and job_id not in self._cancelled:
            self._cancelled.add(job_id)
            self._on_cancel(job_id)

    def _unreadable(self, source: Source, problem: ContractError) -> None:
        """Set aside what came while we were here; what lay there before was seen by those who were there before."""
        log.warning("control.unread", partition=source.partition, offset=source.offset, reason=problem.message)
        if self._caught_up.is_set():
            self._set_aside(source, problem)

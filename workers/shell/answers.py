"""Sends what became of tasks: results with the journal's ends, answers that the journal already has, dead letters.

A delivery is finished, and so its offset, when all that is sent for it is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from headrace.runtime import metrics
from headrace.runtime.kafka import ReadHeaders
from headrace.runtime.letters import Source, Whose, dead_letter, letter_record, source_of
from headrace.runtime.telemetry import trace_headers
from headrace.schemas.codec import Headers, Record, header_map
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import Task
from headrace.schemas.topics import Topics
from headrace.workers.shell.attempt import Ended
from headrace.workers.shell.delivery import Delivery
from headrace.workers.shell.journal import Journal
from headrace.workers.shell.running import Running
from headrace.workers.shell.sender import ResultSender
from headrace.workers.shell.unreadable import failed_result, result_headers

log = structlog.get_logger("headrace.answers")


class Answers:
    """The outgoing side of one pool. Everything here runs on the event loop.

    Args:
        pool: its name.
        worker: this process.
        result_partitions: partition count of the results topic.
    """

    def __init__(
        self,
        sender: ResultSender,
        *,
        pool: str,
        worker: str,
        topics: Topics,
        result_partitions: int,
    ) -> None:
        self._sender = sender
        self._journal = Journal(topics.attempts(pool), worker=worker)
        self._pool = pool
        self._worker = worker
        self._topics = topics
        self.result_partitions = result_partitions

    @property
    def stalled(self) -> bool:
        """Whether Kafka takes nothing at the moment."""
        return self._sender.stalled

    def start(self, running: Running, written: Callable[[], object] | None = None) -> None:
        """Journal that a call begins.

        Args:
            written: called from the producer's thread once that is acknowledged.
        """
        running.journalled = True

        def finish(at: int) -> None:
            running.note_start(at)
            if written is not None:
                written()

        self._sender.send(self._journal.started(running.task, running.deliveries[-1]), finish=finish, kind="started")

    def end(self, running: Running, ended: Ended, settled: Callable[[Running], object]) -> None:
        """Send an attempt's result and its end.

        Args:
            settled: called from the producer's thread once both are acknowledged.
        """
        result = self._result(running.task, running.trace, ended)
        journalled = ended.called or running.journalled

        def finish(at: int) -> None:
            running.settle(at if journalled else None)
            settled(running)

        if journalled:
            note = self._journal.ended(running.task, running.deliveries[-1], ended.value)
            self._sender.send(note, result, finish=finish, kind="ended")
        else:
            self._sender.send(result, finish=finish, kind="answer")

    def give_up(self, running: Running) -> None:
        """Leave an attempt to the partition's next owner: no call was made, and a start that was written is void."""
        for delivery in running.deliveries:
            delivery.drop()
        if running.journalled:
            void = self._journal.ended(running.task, running.deliveries[-1])
            self._sender.send(void, finish=_nothing, kind="given_up")

    def end_at_once(self, delivery: Delivery, task: Task, trace: Headers, ended: Ended) -> None:
        """Send the result of an attempt that had no start, and its end where there was a call."""
        result = self._result(task, trace, ended)
        if ended.called:
            note = self._journal.ended(task, delivery, ended.value)
            self._sender.send(note, result, finish=delivery.finish, kind="ended")
        else:
            self._sender.send(result, finish=_unjournalled(delivery), kind="answer")

    def set_order_aside(self, source: Source, error: ContractError) -> None:
        """Dead-letter a record that is no task of ours to settle: an order that cannot be read."""
        self._sender.send(self._letter(source, error, Whose()), finish=_nothing, kind="answer")

    def set_aside(self, delivery: Delivery, raw: ReadHeaders, error: ContractError) -> None:
        """Dead-letter a record that cannot be read, and answer for it where its headers say to whom."""
        headers = header_map(raw)
        records = [self._letter(source_of(delivery.message, raw), error, Whose(pool=self._pool))]
        result = failed_result(
            error,
            topic=self._topics.results,
            pool=self._pool,
            worker=self._worker,
            partitions=self.result_partitions,
            headers=headers,
        )
        if result is not None:
            result.headers.extend(trace_headers(headers))
            records.append(result)
        self._sender.send(*records, finish=_unjournalled(delivery), kind="answer")

    def _letter(self, source: Source, error: ContractError, whose: Whose) -> Record:
        letter = dead_letter(
            source,
            reason=error.kind,
            message=error.message,
            errors=(error.message, error.hint) if error.hint else (error.message,),
            at_ms=int(time.time() * 1_000),
            by=self._worker,
            whose=whose,
        )
        place = {"topic": source.topic, "partition": source.partition, "offset": source.offset}
        metrics.DEAD_LETTERS.labels(source.topic, error.kind).inc()
        log.warning("record.dead_lettered", **place, reason=error.kind, message=error.message)
        return letter_record(letter, self._topics.dead_letters)

    def _result(self, task: Task, trace: Headers, ended: Ended) -> Record:
        headers = result_headers(ended.result) + trace
        return Record(self._topics.results, task.job_id.encode(), ended.value, task.reply_partition, headers)


def _nothing(_at: int) -> None:
    """Finish no delivery."""


def _unjournalled(delivery: Delivery) -> Callable[[int], None]:
    """Return what finishes a delivery whose first record is none of the journal's."""
    return lambda _at: delivery.finish(None)

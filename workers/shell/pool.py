"""Runs attempts side by side, up to the pool's limit over both lanes; everything here runs on the event loop.

Stopping (SIGTERM): intake ends; what was not started is left undone for the next worker; what runs may end within the
drain timeout; the rest is answered ``interrupted``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import structlog

from headrace.runtime import metrics
from headrace.runtime.kafka import ReadHeaders, headers_of
from headrace.runtime.letters import Source, Whose, dead_letter, letter_record, source_of
from headrace.runtime.telemetry import trace_headers
from headrace.schemas.agreement import check_task
from headrace.schemas.codec import Headers, Record, header_map
from headrace.schemas.errors import ContractError, DecodeError, ErrorKind
from headrace.schemas.messages import Lane, Task
from headrace.schemas.topics import Topics
from headrace.workers.core.limits import LaneShare
from headrace.workers.shell.attempt import AttemptRunner, Ended, read_task
from headrace.workers.shell.delivery import Assignment, Delivery
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.sender import ResultSender
from headrace.workers.shell.unreadable import failed_result, result_headers

log = structlog.get_logger("headrace.pool")

SLICE = 64
"""Attempts in process between two looks at the rest of the event loop."""


@dataclass(slots=True, eq=False)
class _Running:
    """An attempt under way."""

    delivery: Delivery
    task: Task
    trace: Headers
    runs: asyncio.Task[Ended] | None = None
    stopped: tuple[ErrorKind, str] | None = None
    """Why it was closed from outside."""


class WorkPool:
    """The pool of one worker process.

    Args:
        concurrency: most attempts side by side.
        result_partitions: partition count of the results topic.
    """

    def __init__(
        self,
        runner: AttemptRunner,
        sender: ResultSender,
        report: AttemptReport,
        *,
        name: str,
        worker: str,
        topics: Topics,
        concurrency: int,
        result_partitions: int,
    ) -> None:
        self._runner = runner
        self._sender = sender
        self._report = report
        self._name = name
        self._worker = worker
        self._topics = topics
        self._limit = concurrency
        self._result_partitions = result_partitions
        self._queues: dict[Lane, deque[Delivery]] = {lane: deque() for lane in Lane}
        self._running: dict[int, _Running] = {}
        self._share = LaneShare()
        self._draining = False
        self._pump_due = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_flight = metrics.IN_FLIGHT.labels(name)
        self._buffered = {lane: metrics.BUFFERED.labels(name, lane.value) for lane in Lane}
        metrics.CONCURRENCY.labels(name).set(concurrency)

    def offer(self, batch: list[Delivery]) -> None:
        """Take one batch from a poller (through one call_soon_threadsafe)."""
        if self._draining:
            for delivery in batch:
                delivery.drop()
            return
        self._queues[batch[0].lane].extend(batch)
        self._pump()

    def release(self, assignments: Iterable[Assignment]) -> None:
        """Let go what has not started of revoked partitions."""
        gone = set(map(id, assignments))
        for queue in self._queues.values():
            for _ in range(len(queue)):
                delivery = queue.popleft()
                if id(delivery.assignment) in gone:
                    delivery.drop()
                else:
                    queue.append(delivery)

    def cancel_job(self, job_id: str) -> None:
        """Close the running calls of a job that was cancelled; waiting tasks are refused when their turn comes."""
        for running in list(self._running.values()):
            if running.task.job_id == job_id:
                self._stop(running, ErrorKind.CANCELLED, "the job was cancelled during the call")

    async def drain(self, timeout_s: float) -> None:
        """Start nothing more, wait for what runs, then answer the rest ``interrupted``."""
        self._draining = True
        dropped = 0
        for queue in self._queues.values():
            while queue:
                queue.popleft().drop()
                dropped += 1
        log.info("worker.draining", running=len(self._running), left_for_others=dropped)
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            for running in list(self._running.values()):
                self._stop(running, ErrorKind.INTERRUPTED, f"the worker stopped; its drain timeout is {timeout_s:g} s")
            await self._idle.wait()

    def _stop(self, running: _Running, kind: ErrorKind, message: str) -> None:
        if running.stopped is None and running.runs is not None:
            running.stopped = (kind, message)
            running.runs.cancel()

    def _pump(self) -> None:
        """Start what may start."""
        self._pump_due = False
        started = 0
        while (delivery := self._next()) is not None:
            self._start(delivery)
            started += 1
            if started >= SLICE:
                self._pump_later()
                break
        self._in_flight.set(len(self._running))
        for lane, queue in self._queues.items():
            self._buffered[lane].set(len(queue))

    def _pump_later(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _next(self) -> Delivery | None:
        """Return the next delivery to start, from the lane whose turn it is."""
        interactive, batch = self._queues[Lane.INTERACTIVE], self._queues[Lane.BATCH]
        while (interactive or batch) and len(self._running) < self._limit:
            first = self._share.interactive_next(interactive=len(interactive), batch=len(batch))
            delivery = (interactive if first else batch).popleft()
            if delivery.assignment.alive:
                return delivery
            delivery.drop()
        return None

    def _start(self, delivery: Delivery) -> None:
        raw = headers_of(delivery.message)
        headers = header_map(raw)
        try:
            task = self._read(delivery, headers)
        except ContractError as error:
            self._set_aside(delivery, raw, error)
            return
        trace = trace_headers(headers)
        self._report.started(task)
        if self._runner.immediate and (ended := self._runner.run_now(task)) is not None:
            self._finish(delivery, task, trace, ended)
            return
        running = _Running(delivery, task, trace)
        self._running[id(running)] = running
        self._idle.clear()
        running.runs = asyncio.get_running_loop().create_task(self._runner.run(task))
        running.runs.add_done_callback(partial(self._on_end, running))

    def _read(self, delivery: Delivery, headers: dict[str, str]) -> Task:
        try:
            task = read_task(delivery.message.value(), headers)
            check_task(task, headers, pool=self._name, result_partitions=self._result_partitions)
        except ContractError:
            raise
        except Exception as error:  # Our own bug; a record that is not set aside would stop its partition.
            log.error("task.unreadable", exc_info=error)
            raise DecodeError(f"unexpected {type(error).__name__} while it was read", kind="internal") from error
        return task

    def _on_end(self, running: _Running, runs: asyncio.Task[Ended]) -> None:
        """Take an attempt's ending. A callback of the task, because one cancelled before its first step never runs."""
        del self._running[id(running)]
        if runs.cancelled():
            kind, message = running.stopped or (ErrorKind.INTERRUPTED, "the worker stopped")
            ended = self._runner.refused(running.task, kind, message)
        elif error := runs.exception():
            ended = self._runner.crashed(running.task, error)
        else:
            ended = runs.result()
        self._finish(running.delivery, running.task, running.trace, ended)
        if not self._running:
            self._idle.set()
        self._pump_later()

    def _finish(self, delivery: Delivery, task: Task, trace: Headers, ended: Ended) -> None:
        """Send the result; its acknowledgement finishes the delivery, and so its offset."""
        headers = result_headers(ended.result) + trace
        key = task.job_id.encode()
        record = Record(self._topics.results, key, ended.value, task.reply_partition, headers)
        self._sender.send(record, finish=delivery.finish)
        self._report.ended(task, ended.result, called=ended.called, trace=trace)

    def set_aside(self, source: Source, error: ContractError) -> None:
        """Dead-letter a record that is no task of ours to settle: an order that cannot be read."""
        self._sender.send(self._letter(source, error, Whose()), finish=lambda: None)

    def _set_aside(self, delivery: Delivery, raw: ReadHeaders, error: ContractError) -> None:
        """Dead-letter a record that cannot be read, and answer for it where its headers say to whom."""
        headers = header_map(raw)
        records = [self._letter(source_of(delivery.message, raw), error, Whose(pool=self._name))]
        result = failed_result(
            error,
            topic=self._topics.results,
            pool=self._name,
            worker=self._worker,
            partitions=self._result_partitions,
            headers=headers,
        )
        if result is not None:
            result.headers.extend(trace_headers(headers))
            records.append(result)
        self._sender.send(*records, finish=delivery.finish)

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

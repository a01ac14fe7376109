"""Runs attempts side by side, up to the pool's limit over both lanes; everything here runs on the event loop.

Stopping (SIGTERM): intake ends; what was not started is left undone for the next worker; what runs may end within the
drain timeout; the rest is answered ``interrupted``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from functools import partial

import structlog

from headrace.runtime import metrics
from headrace.runtime.kafka import headers_of
from headrace.runtime.telemetry import trace_headers
from headrace.schemas.agreement import check_task
from headrace.schemas.codec import Headers, header_map
from headrace.schemas.errors import ContractError, DecodeError
from headrace.schemas.messages import Lane, Task
from headrace.workers.core.journal import Entry
from headrace.workers.core.lanes import LaneShare
from headrace.workers.core.lease import SETTLE_MS
from headrace.workers.shell.answers import Answers
from headrace.workers.shell.attempt import AttemptRunner, Ended, read_task
from headrace.workers.shell.delivery import Assignment, Delivery, clock_ms
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.running import Key, NotOurs, Running

log = structlog.get_logger("headrace.pool")

SLICE = 64
"""Attempts in process between two looks at the rest of the event loop."""
HOLD_S = 0.1
"""How often it is asked whether tasks may be started again that the poller cannot vouch for now."""
SLOW_START_MS = 1_000
"""A start whose acknowledgement took longer came through when a broken connection was back, perhaps past the session:
then its call waits until a lost partition is known to be lost. What else was sent in such a moment is not noticed."""


class WorkPool:
    """The pool of one worker process.

    Args:
        name: the pool, as its topics are called.
        concurrency: most attempts side by side.
        batch_every: see `LaneShare`.
    """

    def __init__(
        self,
        runner: AttemptRunner,
        answers: Answers,
        report: AttemptReport,
        *,
        name: str,
        concurrency: int,
        batch_every: int,
    ) -> None:
        self._runner = runner
        self._answers = answers
        self._report = report
        self._name = name
        self._queues: dict[Lane, deque[Delivery]] = {lane: deque() for lane in Lane}
        self._running: dict[Key, Running] = {}
        self._running_by_lane = dict.fromkeys(Lane, 0)
        self._unsettled: dict[Key, Running] = {}
        """Attempts that have ended and whose result is not acknowledged. The producer's thread takes them off."""
        self._share = LaneShare(concurrency, batch_every)
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
        """Let go what has not started of partitions that are given back, and say so: from now on nothing of them is.

        What runs goes on; each assignment is told until when.
        """
        gone = {id(assignment): assignment for assignment in assignments}
        for queue in self._queues.values():
            for _ in range(len(queue)):
                delivery = queue.popleft()
                if id(delivery.assignment) in gone:
                    delivery.drop()
                else:
                    queue.append(delivery)
        for running in self._running.values():
            for delivery in running.deliveries:
                if (held := gone.get(id(delivery.assignment))) is not None:
                    held.until_ms = max(held.until_ms, running.until_ms)
        for assignment in gone.values():
            assignment.until_ms = assignment.until_ms or _now_ms()
            assignment.released = True

    def cancel_job(self, job_id: str) -> None:
        """Close the running calls of a job that was cancelled; waiting tasks are refused when their turn comes."""
        for running in list(self._running.values()):
            if running.task.job_id == job_id:
                running.stop("cancelled")

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
                running.stop("drained")
            await self._idle.wait()

    def _pump(self) -> None:
        """Start what may start."""
        self._pump_due = False
        started, now_ms = 0, clock_ms()
        again: Lane | None = None
        while (delivery := self._next(now_ms, again)) is not None:
            running = len(self._running)
            self._start(delivery)
            again = delivery.lane if len(self._running) == running else None
            started += 1
            if started >= SLICE:
                self._pump_later()
                break
        self._report.export()
        self._in_flight.set(len(self._running))
        for lane, queue in self._queues.items():
            self._buffered[lane].set(len(queue))

    def _pump_later(self, delay_s: float = 0.0) -> None:
        if not self._pump_due:
            self._pump_due = True
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, self._pump) if delay_s else loop.call_soon(self._pump)

    def _next(self, now_ms: int, again: Lane | None = None) -> Delivery | None:
        """Return the next delivery to start, from the lane whose turn it is.

        Args:
            again: the lane of the last one, where nothing runs of it now: its turn is not over while it waits alone.
        """
        interactive, batch = self._queues[Lane.INTERACTIVE], self._queues[Lane.BATCH]
        running = self._running_by_lane
        while interactive or batch:
            if again is not None and self._queues[again] and not (interactive and batch):
                lane: Lane | None = again
            else:
                again = None
                lane = self._share.next(
                    now_ms,
                    interactive=(len(interactive), running[Lane.INTERACTIVE]),
                    batch=(len(batch), running[Lane.BATCH]),
                )
            if lane is None:
                return None
            queue = self._queues[lane]
            delivery = queue.popleft()
            if not delivery.assignment.alive:
                delivery.drop()
            elif delivery.assignment.lease.holds(now_ms) and not self._answers.stalled:
                return delivery
            else:
                queue.appendleft(delivery)
                self._pump_later(HOLD_S)
                return None
        return None

    def _start(self, delivery: Delivery) -> None:
        raw = headers_of(delivery.message)
        headers = header_map(raw)
        try:
            task = self._read(delivery, headers)
        except ContractError as error:
            self._answers.set_aside(delivery, raw, error)
            return
        trace = trace_headers(headers)
        if self._immediate_or_known(delivery, task, trace):
            return
        running = Running(task, trace, [delivery], until_ms=_now_ms() + task.timeout_ms)
        self._running[running.key] = running
        self._running_by_lane[delivery.lane] += 1
        self._idle.clear()
        running.runs = asyncio.get_running_loop().create_task(self._runner.run(task, partial(self._begin, running)))
        running.runs.add_done_callback(partial(self._on_end, running))

    def _immediate_or_known(self, delivery: Delivery, task: Task, trace: Headers) -> bool:
        """Answer a task for which no call has to be waited for; return whether it was one."""
        key = (task.task_id, task.attempt)
        if (known := self._running.get(key) or self._unsettled.get(key)) is not None:
            known.adopt(delivery)
            return True
        if delivery.noted is not None and delivery.noted.concerns(task):
            self._recall(delivery, task, trace, delivery.noted)
            return True
        self._report.started(task)
        if not self._runner.immediate or (ended := self._runner.run_now(task)) is None:
            return False
        self._answers.end_at_once(delivery, task, trace, ended)
        self._report.ended(task, ended.result, called=ended.called, trace=trace)
        return True

    def _recall(self, delivery: Delivery, task: Task, trace: Headers, noted: Entry) -> None:
        ended = self._runner.recalled(task, noted)
        self._answers.end_at_once(delivery, task, trace, ended)
        self._report.recalled(task, ended.result, trace=trace)

    def _read(self, delivery: Delivery, headers: dict[str, str]) -> Task:
        try:
            task = read_task(delivery.message.value(), headers)
            check_task(task, headers, pool=self._name, result_partitions=self._answers.result_partitions)
        except ContractError:
            raise
        except Exception as error:  # Our own bug; a record that is not set aside would stop its partition.
            log.error("task.unreadable", exc_info=error)
            raise DecodeError(f"unexpected {type(error).__name__} while it was read", kind="internal") from error
        return task

    async def _begin(self, running: Running) -> None:
        """Journal a call's start; where calls cost money or change something, that is acknowledged before one begins.

        Raises:
            NotOurs: the partition was lost meanwhile.
        """
        if self._runner.notes_first:
            sent_ms = clock_ms()
            await self._journal_start(running)
            if clock_ms() - sent_ms > SLOW_START_MS:
                await asyncio.sleep(SETTLE_MS / 1_000)
            while not running.trusted:  # noqa: ASYNC110  A lease is a clock, not an event.
                await asyncio.sleep(HOLD_S)
        if not running.ours:
            raise NotOurs
        if not self._runner.notes_first:
            self._answers.start(running)
        running.until_ms = _now_ms() + running.task.timeout_ms
        running.begun = True

    async def _journal_start(self, running: Running) -> None:
        loop = asyncio.get_running_loop()
        written = asyncio.Event()
        self._answers.start(running, lambda: loop.call_soon_threadsafe(written.set))
        await written.wait()

    def _on_end(self, running: Running, runs: asyncio.Task[Ended]) -> None:
        """Take an attempt's ending. A callback of the task, because one cancelled before its first step never runs."""
        del self._running[running.key]
        self._running_by_lane[running.deliveries[0].lane] -= 1
        if (ended := self._ending(running, runs)) is None:
            self._answers.give_up(running)
        else:
            self._unsettled[running.key] = running
            self._answers.end(running, ended, self._settled)
            self._report.ended(running.task, ended.result, called=ended.called, trace=running.trace)
        if not self._running:
            self._idle.set()
        self._pump_later()

    def _settled(self, running: Running) -> None:
        self._unsettled.pop(running.key, None)

    def _ending(self, running: Running, runs: asyncio.Task[Ended]) -> Ended | None:
        """Return how an attempt ended; None where it was left to the partition's next owner."""
        if runs.cancelled():
            if running.stopped == "cancelled":
                return self._runner.cancelled(running.task, begun=running.begun)
            message = "the worker stopped, and its drain timeout was over"
            return self._runner.interrupted(running.task, message, cause="stop", begun=running.begun)
        match runs.exception():
            case None:
                return runs.result()
            case NotOurs():
                return None
            case error:
                return self._runner.crashed(running.task, error, begun=running.begun)


def _now_ms() -> int:
    return int(time.time() * 1_000)

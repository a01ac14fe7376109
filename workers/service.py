"""A worker process from start to end.

Start: 1 checks · 2 control read to its end · 3 both lanes join their group.
Stop (SIGTERM, SIGINT): 1 unready · 2 intake ends · 3 calls end, or are answered ``interrupted`` · 4 results are
acknowledged · 5 offsets are committed, the group is left · 6 exit 0. A second signal exits at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from functools import cache
from typing import Any

import structlog

from headrace.runtime.health import AdminServer, Heartbeats
from headrace.runtime.kafka import admin_client, group_config, producer_config, reader_config
from headrace.runtime.kafka_watch import KafkaWatch
from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.messages import Lane
from headrace.workers.runner import open_runner
from headrace.workers.settings import WorkerPlan
from headrace.workers.shell.answers import Answers
from headrace.workers.shell.control import ControlFollower
from headrace.workers.shell.opening import Openings
from headrace.workers.shell.poller import LanePoller
from headrace.workers.shell.pool import WorkPool
from headrace.workers.shell.report import AttemptReport
from headrace.workers.shell.sender import ResultSender
from headrace.workers.shell.tail import TailReader
from headrace.workers.startup import wait_for_topics, warn_if_closed

log = structlog.get_logger("headrace.worker")

SETTLE_TIMEOUT_S = 30.0
"""How long a stop waits for Kafka to acknowledge what was sent."""
LEAVE_TIMEOUT_S = 20.0


class Worker:
    """One worker of one pool."""

    def __init__(self, plan: WorkerPlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = settings
        self._beats = Heartbeats()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._signals = 0
        self._draining = False
        self._pollers: list[LanePoller] = []
        self._sender: ResultSender | None = None
        self._watch: KafkaWatch | None = None

    async def run(self) -> int:
        """Work until a signal or a failure; return the exit code.

        Raises:
            HeadraceError: it cannot start, or cannot go on.
        """
        plan, settings = self._plan, self._settings
        self._watch_signals()
        counts = await asyncio.to_thread(wait_for_topics, plan, settings)
        await warn_if_closed(plan)
        topics = settings.topic_names
        control = ControlFollower(
            reader_config(settings, "worker-control"),
            topic=topics.control,
            on_cancel=lambda job_id: self._soon(pool.cancel_job, job_id),
            set_aside=lambda source, error: self._soon(answers.set_order_aside, source, error),
            heartbeats=self._beats,
        )
        runner = open_runner(
            plan,
            is_cancelled=control.is_cancelled,
            is_called_off=control.is_called_off,
            objects=cache(lambda: open_objects(settings)),
            inline_bytes=settings.objects.inline_bytes,
        )
        sender = self._sender = ResultSender(
            producer_config(settings, "worker"), pool=plan.pool_name, on_failure=self._end, heartbeats=self._beats
        )
        answers = Answers(
            sender,
            pool=plan.pool_name,
            worker=plan.worker,
            topics=topics,
            result_partitions=counts[topics.results],
        )
        report = AttemptReport(plan.pool_name, plan.pool.endpoint, quiet=runner.immediate)
        pool = WorkPool(
            runner,
            answers,
            report,
            name=plan.pool_name,
            concurrency=plan.concurrency,
            batch_every=settings.worker.batch_every,
        )
        admin = AdminServer(
            settings.admin, "worker", live=self._beats.stale, ready=self._not_ready, info={"pool": plan.pool_name}
        )
        try:
            self._watch = KafkaWatch(admin_client(settings, "worker-watch"), counts)
            self._watch.start()
            await runner.start()
            await asyncio.to_thread(control.start, settings.kafka.connect_timeout_s)
            self._start_lanes(pool, immediate=runner.immediate)
            log.info("worker.started", pool=plan.pool_name, concurrency=plan.concurrency, worker=plan.worker)
            await self._beat_until_ended()
            await self._stop(pool, sender)
        finally:
            await asyncio.to_thread(control.close)
            await runner.close()
            admin.close()
            if self._watch is not None:
                self._watch.close()
        self._raise_failure(sender)
        log.info("worker.stopped", pool=plan.pool_name)
        return 0

    def _start_lanes(self, pool: WorkPool, *, immediate: bool) -> None:
        plan, settings = self._plan, self._settings
        topics = settings.topic_names
        admin = admin_client(settings, "worker-admin")
        for lane in Lane:
            topic = topics.tasks(plan.pool_name, lane)
            openings = Openings(
                topic=topic,
                journal=topics.attempts(plan.pool_name),
                pool=plan.pool_name,
                lane=lane,
                reader=TailReader(reader_config(settings, f"worker-journal-{lane.value}", committed=False)),
                admin=admin,
            )
            config = group_config(
                settings,
                f"worker-{plan.pool_name}-{lane.value}",
                topics.worker_group(plan.pool_name),
                instance=None,
                assignor="cooperative-sticky",
            )
            poller = LanePoller(
                config,
                openings,
                topic=topic,
                pool=plan.pool_name,
                lane=lane,
                capacity=plan.capacity(settings.worker.buffer_factor, immediate=immediate),
                commit_interval_ms=settings.worker.commit_interval_ms,
                revoke_wait_s=settings.worker.revoke_wait_s,
                gap_ms=settings.kafka.session_timeout_ms // 2,
                hand_over=lambda batch: self._soon(pool.offer, batch),
                release=lambda gone: self._soon(pool.release, gone),
                on_failure=self._end,
                heartbeats=self._beats,
            )
            self._pollers.append(poller)
            poller.start()

    async def _beat_until_ended(self) -> None:
        while not self._ended.is_set():
            self._beats.beat("loop")
            try:
                async with asyncio.timeout(1.0):
                    await self._ended.wait()
            except TimeoutError:
                continue

    async def _stop(self, pool: WorkPool, sender: ResultSender) -> None:
        self._draining = True
        for poller in self._pollers:
            poller.stop_intake()
        failed = sender.failure is not None
        await pool.drain(0.0 if failed else self._settings.worker.drain_timeout_s)
        settled = await asyncio.to_thread(sender.close, SETTLE_TIMEOUT_S)
        left = await asyncio.gather(*(asyncio.to_thread(one.close, LEAVE_TIMEOUT_S) for one in self._pollers))
        if not settled or not all(left):
            log.error("worker.stopped_unclean", results_outstanding=sender.outstanding, groups_left=all(left))

    def _raise_failure(self, sender: ResultSender) -> None:
        for failure in [sender.failure, *(poller.failure for poller in self._pollers)]:
            if failure is not None:
                raise failure

    def _watch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        self._signals += 1
        if self._signals > 1:
            # Every offset that is not committed is read again; there is nothing to tidy up.
            os._exit(128 + number)
        log.info("worker.signalled", signal=signal.Signals(number).name)
        self._ended.set()

    def _end(self) -> None:
        self._soon(self._ended.set)

    def _soon(self, act: Callable[..., object], *args: Any) -> None:
        """Run something on the event loop, from any thread; after its end nothing is left to do."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *args)

    def _not_ready(self) -> str | None:
        if self._draining:
            return "draining"
        if self._watch is not None and (problem := self._watch.problem()):
            return problem
        if not self._pollers or not all(poller.partitions.ready for poller in self._pollers):
            return "no partitions assigned yet"
        checks = [self._sender, *(poller.partitions for poller in self._pollers)]
        troubles = [trouble for check in checks if check is not None and (trouble := check.trouble())]
        return "; ".join(troubles) or self._beats.stale()


def run_worker(plan: WorkerPlan, settings: Settings) -> int:
    """Run a worker on an event loop of its own; uvloop where the extra ``speed`` is installed."""

    async def main() -> int:
        return await Worker(plan, settings).run()

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    return int(uvloop.run(main()))

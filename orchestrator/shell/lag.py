"""Exports the lag of all pools from the owner of partition 0 of ``results``: so it exists without workers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from confluent_kafka.admin import AdminClient

from headrace.runtime import metrics
from headrace.runtime.group_offsets import GroupReader
from headrace.runtime.lag import pool_lag
from headrace.schemas.errors import DependencyUnavailable
from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")

EVERY_S = 5.0


class LagExporter:
    """Asks every few seconds in a thread of its own; the loop never waits for it.

    Args:
        admin: an admin client; librdkafka's are safe to share between threads.
        groups: reads the offsets of the pools' groups.
        topics: names of the topics.
        pools: names of the pools.
        responsible: whether this instance owns partition 0 now.
    """

    def __init__(
        self,
        admin: AdminClient,
        groups: GroupReader,
        topics: Topics,
        pools: list[str],
        responsible: Callable[[], bool],
    ) -> None:
        self._admin = admin
        self._groups = groups
        self._topics = topics
        self._pools = pools
        self._responsible = responsible
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a question in flight is left to its time-out."""
        self._stopped.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        silent = False
        while not self._stopped.wait(EVERY_S):
            if not self._responsible():
                # Two exporters would add up on a dashboard.
                metrics.LAG.clear()
                metrics.WAITING.clear()
                continue
            try:
                found = pool_lag(self._admin, self._topics, self._pools, timeout_s=EVERY_S, groups=self._groups)
            except DependencyUnavailable as error:
                if not silent:
                    log.warning("lag.unknown", error=error.message)
                silent = True
                continue
            silent = False
            for lag in found:
                metrics.LAG.labels(lag.pool, lag.lane).set(lag.waiting + lag.in_flight)
                metrics.WAITING.labels(lag.pool, lag.lane).set(lag.waiting)

"""Moves the orchestrator's metrics; each is declared in `runtime.metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headrace.orchestrator.core.window import Channel
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime import metrics


def aborted() -> None:
    """A transaction was aborted."""
    metrics.TRANSACTIONS.labels("aborted").inc()


def lost() -> None:
    """A transaction's ending is unknown, or another instance fenced this one."""
    metrics.TRANSACTIONS.labels("lost").inc()


def held_back(counts: Mapping[Channel, int]) -> None:
    """What waits in this instance for room; a channel that is gone shows nothing."""
    metrics.TASKS_HELD.clear()
    for (pool, lane), count in counts.items():
        metrics.TASKS_HELD.labels(pool, lane).set(count)


def restored(seconds: float) -> None:
    """A partition is in memory."""
    metrics.RESTORE_SECONDS.observe(seconds)


def committed(batch: Batch, seconds: float, partitions: Iterable[Partition]) -> None:
    """A batch is committed."""
    metrics.TRANSACTIONS.labels("committed").inc()
    metrics.TRANSACTION_SECONDS.observe(seconds)
    metrics.TRANSACTION_RECORDS.observe(batch.read)
    for what, count in batch.counts.items():
        match what:
            case ("dispatched", pool, lane):
                metrics.DISPATCHED.labels(pool, lane).inc(count)
            case ("retried", pool, kind):
                metrics.RETRIES.labels(pool, kind).inc(count)
            case ("duplicated", pool, cause):
                metrics.DUPLICATED.labels(pool, cause).inc(count)
            case ("job", status):
                metrics.JOBS.labels(status).inc(count)
            case ("ignored", reason):
                metrics.DUPLICATES.labels(reason).inc(count)
            case ("dead_letter", topic, reason):
                metrics.DEAD_LETTERS.labels(topic, reason).inc(count)
    jobs = tasks = 0
    for partition in partitions:
        jobs += partition.store.counters.jobs
        tasks += partition.store.counters.tasks
    metrics.JOBS_LIVE.set(jobs)
    metrics.TASKS_LIVE.set(tasks)

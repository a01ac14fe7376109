"""The catalogue of metrics: each declared once, with unit, labels and meaning. The docs page is generated from it.

Labels are closed sets (pool, lane, kind, status); job and task ids are never labels. All live in one registry, so
that a process exports the same names whatever it imports.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

CALL_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds; model calls take from milliseconds (a local echo) to minutes."""
SHORT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds; what happens inside one process or one transaction."""


class BatchHistogram(Histogram):
    """A histogram that takes observations together: to observe one takes two locks."""

    def observe_all(self, amounts: list[float]) -> None:
        """Observe each of the amounts."""
        counts: dict[int, int] = {}
        for amount in amounts:
            place = bisect_left(self._upper_bounds, amount)
            counts[place] = counts.get(place, 0) + 1
        for place, count in counts.items():
            self._buckets[place].inc(count)
        self._sum.inc(sum(amounts))


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One line of the catalogue."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str


CATALOGUE: list[MetricDef] = []
M = TypeVar("M", Counter, Gauge, Histogram)


def _note(kind: str, name: str, unit: str, labels: tuple[str, ...], meaning: str) -> str:
    full = f"headrace_{name}"
    CATALOGUE.append(MetricDef(full, kind, unit, labels, meaning))
    return full


def _counter(name: str, unit: str, labels: tuple[str, ...], meaning: str) -> Counter:
    return Counter(_note("counter", name, unit, labels, meaning), meaning, labels, registry=REGISTRY)


def _gauge(name: str, unit: str, labels: tuple[str, ...], meaning: str) -> Gauge:
    return Gauge(_note("gauge", name, unit, labels, meaning), meaning, labels, registry=REGISTRY)


def _histogram(
    name: str, labels: tuple[str, ...], meaning: str, buckets: tuple[float, ...] = SHORT_BUCKETS
) -> BatchHistogram:
    full = _note("histogram", name, "seconds", labels, meaning)
    return BatchHistogram(full, meaning, labels, registry=REGISTRY, buckets=buckets)


TROUBLE_SECONDS = _gauge(
    "trouble_seconds", "seconds", ("kind",), "How long work has been kept back now, by what keeps it; 0: nothing."
)
TAKEOVER_SECONDS = _gauge(
    "takeover_seconds",
    "seconds",
    (),
    "How long a killed member's partitions idle by the group's timeouts; -1: unknown.",
)
BUILD_INFO = _gauge("build_info", "1", ("version", "service"), "Always 1; the labels say what runs.")

# Workers
TASKS = _counter("tasks_total", "tasks", ("pool", "lane", "outcome"), "Tasks answered: ok, or the error kind.")
CALLS = _counter(
    "calls_total", "calls", ("pool", "endpoint", "outcome"), "Provider calls ended: ok, or the error kind."
)
CALL_SECONDS = _histogram("call_seconds", ("pool", "endpoint"), "Duration of provider calls.", CALL_BUCKETS)
QUEUE_SECONDS = _histogram(
    "task_wait_seconds", ("pool", "lane"), "From the task's dispatch to the start of its attempt.", CALL_BUCKETS
)
IN_FLIGHT = _gauge("calls_in_flight", "calls", ("pool",), "Calls that run now.")
CONCURRENCY = _gauge("concurrency_limit", "calls", ("pool",), "Most calls that this worker runs side by side.")
BUFFERED = _gauge("tasks_buffered", "tasks", ("pool", "lane"), "Tasks read and not started.")
TOKENS = _counter(
    "tokens_total",
    "tokens",
    ("pool", "type"),
    "Tokens: input (cache included), cached, cache_write, output, reasoning.",
)
COST = _counter("cost_microusd_total", "micro-US-dollars", ("pool",), "Money by the pool's prices.")
RESULTS = _counter("results_total", "records", ("pool",), "Results that Kafka acknowledged.")
COMMITS = _counter("offset_commits_total", "commits", ("pool", "lane", "outcome"), "Offset commits: ok or failed.")
PAUSED = _gauge("intake_paused", "1", ("pool", "lane"), "1 while the buffer is full and partitions are paused.")
PARTITIONS = _gauge("partitions_assigned", "partitions", ("topic",), "Partitions that this process owns.")
JOURNAL = _counter(
    "journal_records_total", "records", ("pool", "phase"), "Journal records that Kafka acknowledged: started, ended."
)
JOURNAL_UNREAD = _counter("journal_unread_total", "records", ("pool",), "Journal records that could not be read.")
RECALLED = _counter(
    "tasks_recalled_total",
    "tasks",
    ("pool", "phase"),
    "Redelivered tasks answered by the journal without a call: ended with its answer, started as interrupted.",
)
INTERRUPTED = _counter(
    "attempts_interrupted_total",
    "attempts",
    ("pool", "cause"),
    "Attempts answered `interrupted` after their call had begun: their worker died (kill) or stopped (stop).",
)
HANDED_OVER = _counter(
    "calls_handed_over_total",
    "calls",
    ("pool", "lane"),
    "Calls that outlived a rebalance and are finished by the worker that began them.",
)
BREAKER = _gauge(
    "breaker_state", "1", ("pool", "tool", "provider"), "A tool's provider: 0 asked, 1 on probation, 2 left alone."
)
UNDELIVERED = _gauge("results_undelivered", "deliveries", ("pool",), "Sent to Kafka and not acknowledged.")
REBALANCES = _counter("rebalances_total", "events", ("topic", "event"), "Assignments: assigned, revoked, lost.")
DEAD_LETTERS = _counter("dead_letters_total", "records", ("topic", "reason"), "Records set aside, by where they lay.")

# Orchestrator
JOBS = _counter("jobs_total", "jobs", ("status",), "Jobs that ended, by status.")
JOBS_LIVE = _gauge("jobs_live", "jobs", (), "Jobs that have not ended, on this instance's partitions.")
TASKS_LIVE = _gauge("tasks_live", "tasks", (), "Tasks dispatched and not answered.")
TASKS_HELD = _gauge("tasks_held_back", "tasks", ("pool", "lane"), "Tasks ready and held back by the dispatch windows.")
DISPATCHED = _counter("tasks_dispatched_total", "tasks", ("pool", "lane"), "Tasks written to task topics.")
RETRIES = _counter("retries_total", "attempts", ("pool", "kind"), "Further attempts, by the error kind before them.")
DUPLICATED = _counter(
    "attempts_duplicated_total",
    "attempts",
    ("pool", "cause"),
    "Attempts after one whose call may have been made: its worker died (kill), stopped (stop), or it is lost (lost).",
)
DUPLICATES = _counter(
    "results_ignored_total", "records", ("reason",), "Results that changed nothing: duplicate, unknown, late."
)
TRANSACTIONS = _counter("transactions_total", "transactions", ("outcome",), "Transactions: committed, aborted, lost.")
TRANSACTION_SECONDS = _histogram("transaction_seconds", (), "From begin to the end of commit.")
TRANSACTION_RECORDS = _histogram(
    "transaction_records", (), "Records read by one transaction.", (1, 4, 16, 64, 256, 1_024, 4_096)
)
RESTORE_SECONDS = _histogram(
    "restore_seconds", (), "Rebuilding one partition's state after an assignment.", CALL_BUCKETS
)
OBJECTS = _counter(
    "object_requests_total",
    "requests",
    ("verb", "outcome"),
    "Reads and writes of the object store: ok, failed, or lost.",
)
SWEPT = _counter("objects_swept_total", "objects", (), "Objects that the sweep deleted.")
LAG = _gauge(
    "consumer_lag_records", "records", ("pool", "lane"), "Tasks on the topic that wait or run and are not done."
)
WAITING = _gauge("waiting_tasks", "records", ("pool", "lane"), "Tasks on the topic that no worker has taken.")

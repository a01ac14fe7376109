"""The orchestrator's transactions during the timed runs of a case: how many, how long, how often told to wait."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.broker_counts import BrokerCounts, Tally
from benchmarks.deployment import Deployment

METRIC = "headrace_transaction_seconds"


class TransactionTally:
    """Counts an orchestrator's transactions while something runs.

    Args:
        here: the deployment.
        broker: counts what the broker refused.
        process: the orchestrator.
    """

    def __init__(self, here: Deployment, broker: BrokerCounts, process: str = "orchestrator-0") -> None:
        self._here, self._process = here, process
        self._broker = Tally(broker)
        self._buckets: dict[float, float] = {}
        self.count = 0.0
        """Transactions so far."""
        self._seconds = self._wall_s = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count for the time of a block."""
        buckets, count, seconds = self._read()
        with self._broker.counting():
            began = time.perf_counter()
            yield
            self._wall_s += time.perf_counter() - began
        now_buckets, now_count, now_seconds = self._read()
        self.count += now_count - count
        self._seconds += now_seconds - seconds
        for bound, number in now_buckets.items():
            self._buckets[bound] = self._buckets.get(bound, 0.0) + number - buckets.get(bound, 0.0)

    def _read(self) -> tuple[dict[float, float], float, float]:
        metric = self._here.metric
        buckets = self._here.buckets(self._process, METRIC)
        return buckets, metric(self._process, f"{METRIC}_count"), metric(self._process, f"{METRIC}_sum")

    def figures(self) -> dict[str, float | int | str]:
        """Return the figures of all blocks so far. ``transaction_ms`` is a median, read from the metric's buckets."""
        return {
            "transactions_per_s": round(self.count / self._wall_s, 1),
            "transaction_ms": round(quantile(self._buckets, 0.5) * 1e3, 2),
            "transaction_mean_ms": round(self._seconds / max(self.count, 1) * 1e3, 2),
            **self._broker.figures(),
        }


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """Return a quantile of a histogram, straight between the bounds of its bucket, as Prometheus does.

    Args:
        buckets: by upper bound, infinity among them, how many were at most that.
        share: in (0, 1): 0.5 for the median.
    """
    bounds = sorted(buckets)
    wanted = share * buckets[bounds[-1]] if bounds else 0.0
    lower = below = 0.0
    for bound in bounds:
        within = buckets[bound] - below
        if within > 0 and buckets[bound] >= wanted:
            return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / within
        lower, below = (lower if math.isinf(bound) else bound), buckets[bound]
    return lower

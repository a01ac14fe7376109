"""What an attempt leaves behind besides its result: one canonical log line, and the metrics."""

from __future__ import annotations

import time
from collections import defaultdict

import structlog
from prometheus_client import Counter

from headrace.runtime import metrics
from headrace.runtime.telemetry import trace_id
from headrace.schemas.codec import Headers
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Lane, Result, Sensitivity, Task, Usage

log = structlog.get_logger("headrace.attempt")


class AttemptReport:
    """Reports the attempts of one pool.

    Args:
        quiet: log attempts that succeeded at debug level; for adapters in process, whose attempts cost microseconds.
    """

    def __init__(self, pool: str, endpoint: str, *, quiet: bool) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._quiet = quiet
        self._log = log.bind()
        self._ok = {lane: metrics.TASKS.labels(pool, lane.value, "ok") for lane in Lane}
        self._calls_ok = metrics.CALLS.labels(pool, endpoint, "ok")
        self._wait = {lane: metrics.QUEUE_SECONDS.labels(pool, lane.value) for lane in Lane}
        self._seconds = metrics.CALL_SECONDS.labels(pool, endpoint)
        self._cost = metrics.COST.labels(pool)
        self._tokens = {field: metrics.TOKENS.labels(pool, name) for name, field in _FIELDS.items()}
        self._tally: defaultdict[Counter, int] = defaultdict(int)
        """What is counted and not exported yet: to export one number costs as much as to count twenty."""
        self._input = self._output = 0
        """The same of tokens that every call has."""
        self._waits: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self._calls: list[float] = []
        """The same of the histograms, in seconds."""

    def export(self) -> None:
        """Bring the metrics up to date."""
        for lane, waits in self._waits.items():
            if waits:
                self._wait[lane].observe_all(waits)
                waits.clear()
        if self._calls:
            self._seconds.observe_all(self._calls)
            self._calls.clear()
            self._tally[self._tokens["input_tokens"]] += self._input
            self._tally[self._tokens["output_tokens"]] += self._output
            self._input = self._output = 0
        if self._tally:
            for counter, number in self._tally.items():
                counter.inc(number)
            self._tally.clear()

    def started(self, task: Task) -> None:
        """Note how long the task waited."""
        if task.dispatched_at_ms:
            self._waits[task.lane].append(max(0.0, time.time() - task.dispatched_at_ms / 1_000))

    def ended(self, task: Task, result: Result, *, called: bool, trace: Headers) -> None:
        """Count the attempt and write its canonical line."""
        self._count(task.lane, result, called)
        if result.failure is None and self._quiet:
            self._log.debug("attempt.finished", task_id=task.task_id, attempt=task.attempt)
            return
        ids = {"job_id": task.job_id, "task_id": task.task_id, "attempt": task.attempt, "step": task.step}
        where = {"pool": self._pool, "lane": task.lane.value, "endpoint": self._endpoint, "model": result.model}
        spent = {
            "call_ms": result.call_ms,
            "input_tokens": result.usage.input_tokens,
            "output_tokens": result.usage.output_tokens,
            "cost_microusd": result.cost_microusd,
        }
        traced = {"trace_id": trace_id(trace)} if trace else {}
        if result.failure is None:
            self._log.info("attempt.finished", **ids, **where, **spent, truncated=result.truncated, **traced)
            return
        failure = {
            "kind": result.failure.kind.value,
            # It may quote the answer, or what the provider says of the prompt.
            "message": "" if task.sensitivity is Sensitivity.CONFIDENTIAL else result.failure.message,
            "called": called,
            "unconfirmed": result.unconfirmed,
        }
        self._log.warning("attempt.failed", **ids, **where, **spent, **failure, **traced)

    def recalled(self, task: Task, result: Result, *, trace: Headers) -> None:
        """Count a redelivered task that the journal answered, and write its line."""
        phase = "ended" if result.journalled else "started"
        metrics.RECALLED.labels(self._pool, phase).inc()
        if not result.journalled:
            metrics.TASKS.labels(self._pool, task.lane.value, ErrorKind.INTERRUPTED.value).inc()
            metrics.INTERRUPTED.labels(self._pool, "kill").inc()
        traced = {"trace_id": trace_id(trace)} if trace else {}
        ids = {"job_id": task.job_id, "task_id": task.task_id, "attempt": task.attempt, "step": task.step}
        self._log.info("attempt.recalled", **ids, phase=phase, pool=self._pool, lane=task.lane.value, **traced)

    def _count(self, lane: Lane, result: Result, called: bool) -> None:
        kind = result.failure.kind.value if result.failure else "ok"
        self._tally[metrics.TASKS.labels(self._pool, lane.value, kind) if result.failure else self._ok[lane]] += 1
        if not called:
            return
        if result.cause:
            metrics.INTERRUPTED.labels(self._pool, result.cause).inc()
        ended = metrics.CALLS.labels(self._pool, self._endpoint, kind) if result.failure else self._calls_ok
        self._tally[ended] += 1
        self._calls.append(result.call_ms / 1_000)
        self._count_usage(result.usage)
        if result.cost_microusd:
            self._tally[self._cost] += result.cost_microusd

    def _count_usage(self, usage: Usage) -> None:
        self._input += usage.input_tokens
        self._output += usage.output_tokens
        for field in _SELDOM:
            if number := getattr(usage, field):
                self._tally[self._tokens[field]] += number


_FIELDS = {
    "input": "input_tokens",
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}
_SELDOM = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")

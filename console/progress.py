"""Shows a running job: drawn live on a terminal, as plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headrace.console.job_report import JobReport
from headrace.schemas.messages import Event

if TYPE_CHECKING:
    from headrace.console.pool_lags import PoolLag

Lags = Callable[[], Sequence["PoolLag"]]
_LAG_EVERY_S = 1.0


class Screen:
    """A context manager that takes reports and events.

    Args:
        lags: asked at most once a second.
        live: draw; else print a line where something changed.
    """

    def __init__(self, lags: Lags, *, live: bool | None = None) -> None:
        self._console = Console(stderr=True)
        self._lags = lags
        self._lag: Sequence[PoolLag] = ()
        self._lag_at = 0.0
        self._last = ""
        wanted = self._console.is_terminal if live is None else live
        self._live = Live(console=self._console, refresh_per_second=4, transient=False) if wanted else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, news: Iterable[JobReport | Event]) -> JobReport | None:
        """Show reports and events as they come; return the last report."""
        last: JobReport | None = None
        for one in news:
            if isinstance(one, Event):
                continue  # The report that follows says the same with numbers.
            last = one
            self._refresh_lag(now=one.finished)
            if self._live:
                self._live.update(_drawing(one, self._lag))
            else:
                self._print(one)
        return last

    def _refresh_lag(self, *, now: bool) -> None:
        if now or time.monotonic() - self._lag_at >= _LAG_EVERY_S:
            self._lag_at, self._lag = time.monotonic(), self._lags()

    def _print(self, report: JobReport) -> None:
        line = one_line(report, self._lag)
        if line != self._last:
            self._last = line
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def one_line(report: JobReport, lags: Sequence[PoolLag]) -> str:
    """Return where a job stands in one line: what ran, tokens, money, lag."""
    steps = "  ".join(f"{step.name} {step.done}/{step.total}" for step in report.steps if step.total)
    tokens = sum(pool.input_tokens + pool.output_tokens for pool in report.pools.values())
    cost = sum(pool.cost_microusd for pool in report.pools.values())
    waiting: dict[str, int] = {}
    for lag in lags:
        waiting[lag.pool] = waiting.get(lag.pool, 0) + lag.waiting + lag.in_flight
    shown = " ".join(f"{pool}={records}" for pool, records in waiting.items())
    return f"{report.status}  {steps}  {tokens:,} tokens  ${cost / 1e6:.6f}" + (f"  lag {shown}" if shown else "")


def _drawing(report: JobReport, lags: Sequence[PoolLag]) -> RenderableType:
    return Group(Text(f"job {report.job_id}  {report.workflow}  {report.status}"), _steps(report), _pools(report, lags))


def _steps(report: JobReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("step", "", "done", "in flight", "retrying", "failed"):
        table.add_column(title, justify="left" if title in ("step", "") else "right")
    for step in report.steps:
        bar = ProgressBar(total=max(step.total, 1), completed=step.done + step.failed, width=30)
        done = f"{step.done}/{step.total}" if step.total else "-"  # A split of a job that is over: nothing to count.
        numbers = (done, str(step.in_flight), str(step.retrying), str(step.failed))
        table.add_row(Text(step.name), bar, *numbers)
    return table


def _pools(report: JobReport, lags: Sequence[PoolLag]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("pool", "waiting", "in flight", "members", "tokens in", "out", "cost"):
        table.add_column(title, justify="left" if title == "pool" else "right")
    for name in dict.fromkeys([*(lag.pool for lag in lags), *report.pools]):
        lanes = [lag for lag in lags if lag.pool == name]
        used = report.pools.get(name)
        table.add_row(
            Text(name),
            str(sum(lag.waiting for lag in lanes)),
            str(sum(lag.in_flight for lag in lanes)),
            str(max((lag.members for lag in lanes), default=0)),
            f"{used.input_tokens if used else 0:,}",
            f"{used.output_tokens if used else 0:,}",
            f"${(used.cost_microusd if used else 0) / 1e6:.6f}",
        )
    return table

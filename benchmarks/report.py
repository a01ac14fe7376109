"""What a benchmark brings home: figures by case, ratios by peer, and how both are shown."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table

Figures = Mapping[str, float | int | str]
"""One case's figures by name; the unit stands at the end of the name (``_per_s``, ``_ms``, ``_us``, ``_mb``)."""

SETTINGS = "acks=all, enable.idempotence=true, one broker"
"""Of every producer and broker that is measured here, the bare loops included."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one benchmark.

    Args:
        figures: by case, its figures.
        ratios: by peer (``raw``, ``celery``, ``dramatiq``, ``ideal``): Headrace ÷ other, for throughput and for
            latency alike. Of several runs it is the median of the ratios of runs that stood side by side.
    """

    figures: Mapping[str, Figures]
    ratios: Mapping[str, float] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """Return it as a table for people."""
        table = Table("case", "figure", "value", title=name, caption=f"{machine()}; {SETTINGS}")
        for case, values in self.figures.items():
            for figure, value in values.items():
                table.add_row(case, figure, value if isinstance(value, str) else f"{value:,}")
        for peer, ratio in self.ratios.items():
            table.add_row("headrace ÷", peer, f"{ratio:,.2f}")
        return table

    def json_line(self, name: str) -> str:
        """Return it as one line for programs."""
        figures = {**self.figures, "machine": {"cores": cores(), "settings": SETTINGS}}
        return json.dumps({"benchmark": name, "figures": figures, "ratios": self.ratios}, ensure_ascii=False)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Return what was measured on."""
    return f"{cores()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def spread(values: Sequence[float], name: str, *, digits: int = 1) -> dict[str, float | int]:
    """Return the median, the least and the most of several runs, and how many there were.

    Args:
        values: one a run, not empty.
        name: what they are, unit included: ``tasks_per_s``.
    """
    return {
        name: round(statistics.median(values), digits),
        f"{name}_min": round(min(values), digits),
        f"{name}_max": round(max(values), digits),
        "runs": len(values),
    }


def paired(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios ours ÷ theirs of runs that stood side by side."""
    return round(statistics.median(our / their for our, their in zip(ours, theirs, strict=True)), 3)

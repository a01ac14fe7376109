"""``python -m benchmarks.pictures FOLDER``: tables and pictures of docs/performance.md, from the lines in FOLDER.

FOLDER is what ``python -m benchmarks NAME --save FOLDER`` filled, one file a benchmark. Tables stand between the
comments ``bench:NAME`` and ``bench:end``; one whose benchmark is not in FOLDER is left as it is.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import stacks

PAGE = Path("docs/performance.md")
PICTURES = Path("docs/pictures")
WIDTH, LABEL, ROW, TOP = 760, 220, 26, 46
COLOURS = {"ours": "#2f7ed8", "theirs": "#8a93a0"}
_TABLE = re.compile(r"(<!-- bench:([a-z-]+) -->\n).*?(<!-- bench:end -->)", re.DOTALL)
_UNITS = {"per_s": "1/s", "ms": "ms", "us": "µs"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: a figure of several cases of a benchmark, as bars."""

    benchmark: str
    figure: str
    title: str
    note: str
    """What is better, and what the scale is."""
    ours: tuple[str, ...]
    """What the names of Headrace's own cases begin with."""


CHARTS = (
    Chart("fanout", "tasks_per_s", "Fan-out of 10,000 tasks: tasks a second", "more is better; logarithmic", ("max",)),
    Chart("latency", "p50_ms", "One job of one task: median from submit to outcome", "less is better", ("headrace",)),
    Chart("slow-calls", "calls_per_s", "A worker alone: calls a second", "more is better; logarithmic", ("headrace",)),
    Chart("fairness", "p99_ms", "An interactive job: 99th percentile", "less is better", ("with", "without")),
)


def main() -> int:
    """Write the pictures and the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="what `python -m benchmarks NAME --save FOLDER` filled")
    folder: Path = parser.parse_args().folder
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    if not found:
        print(f"error: {folder} holds no lines of benchmarks\nfill it: python -m benchmarks all --save {folder}")
        return 2
    PICTURES.mkdir(parents=True, exist_ok=True)
    for chart in CHARTS:
        if chart.benchmark in found and (cases := bars_of(chart, found[chart.benchmark]["figures"])):
            text = drawn(chart, cases)
            (PICTURES / f"{chart.benchmark}.svg").write_text(text, encoding="utf-8")
    if {"fanout", "decisions"} <= found.keys():
        bars = [stacks.stack_of("before", stacks.before()), stacks.stack_of("now", found)]
        text = stacks.drawn("Where the microseconds go: one task of a fan-out", bars)
        (PICTURES / "microseconds.svg").write_text(text, encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"{PAGE}: {', '.join(found)}", file=sys.stderr)
    return 0


def bars_of(chart: Chart, figures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return the cases that have the figure, with its value, in the benchmark's order."""
    values = ((case, figure.get(chart.figure)) for case, figure in figures.items())
    return [(case, float(value)) for case, value in values if isinstance(value, int | float) and value > 0]


def drawn(chart: Chart, bars: list[tuple[str, float]]) -> str:
    """Return an SVG of horizontal bars, readable on light and dark pages."""
    scale = _log_scale if "logarithmic" in chart.note else _scale
    most, least = max(value for _, value in bars), min(value for _, value in bars)
    unit = next((sign for end, sign in _UNITS.items() if chart.figure.endswith(end)), "")
    height = TOP + ROW * len(bars) + 12
    label = f"{chart.title}: " + ", ".join(f"{name} {value:,.1f}" for name, value in bars)
    rows = []
    for number, (name, value) in enumerate(bars):
        y, wide = TOP + number * ROW, scale(value, least, most) * (WIDTH - LABEL - 110)
        colour = COLOURS["ours" if name.startswith(chart.ours) else "theirs"]
        rows += [
            f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y + 3}" width="{wide:.1f}" height="{ROW - 9}" rx="2" fill="{colour}"/>',
            f'<text x="{LABEL + wide + 6:.1f}" y="{y + 15}">{value:,.1f} {unit}</text>',
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{html.escape(label, quote=True)}" font-family="sans-serif" font-size="13" fill="#6b7280">',
            f'<text x="8" y="18" font-size="15" font-weight="600">{html.escape(chart.title)}</text>',
            f'<text x="8" y="35" font-size="11">{html.escape(chart.note)}</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _scale(value: float, _least: float, most: float) -> float:
    return value / most


def _log_scale(value: float, least: float, most: float) -> float:
    """Return a share of the width; the least bar has a tenth, so that it can be seen."""
    if most <= least:
        return 1.0
    return 0.1 + 0.9 * math.log(value / least) / math.log(most / least)


def with_tables(page: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with the tables of those benchmarks written anew."""

    def table(match: re.Match[str]) -> str:
        line = found.get(match[2])
        return match[0] if line is None else match[1] + "\n".join(table_of(line)) + "\n" + match[3]

    return _TABLE.sub(table, page)


def table_of(line: Mapping[str, Any]) -> Iterable[str]:
    """Return the lines of one benchmark's table: a row a case, then the ratios."""
    yield "| case | figures |"
    yield "|---|---|"
    for case, figures in line["figures"].items():
        yield f"| {case} | {_told(figures)} |"
    if line["ratios"]:
        ratios = ", ".join(f"{peer} **{ratio:,.2f}**" for peer, ratio in line["ratios"].items())
        yield f"| Headrace ÷ | {ratios} |"


def _told(figures: Mapping[str, Any]) -> str:
    """Return a case's figures; the least and the most of a figure stand in brackets behind it."""
    told = []
    for name, value in figures.items():
        if name.endswith(("_min", "_max")) and name[:-4] in figures:
            continue
        text = value if isinstance(value, str) else f"{value:,}"
        if f"{name}_min" in figures:
            text += f" ({figures[f'{name}_min']:,} to {figures[f'{name}_max']:,})"
        told.append(f"{name} {text}")
    return "; ".join(told)


if __name__ == "__main__":
    raise SystemExit(main())

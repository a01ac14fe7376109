"""Where a task's microseconds go, before and after: two bars on one scale, each cut into its parts."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEFORE = Path(__file__).with_name("before.json")
"""The lines of `fanout` and `decisions` of the engine as it was before it was made fast, and where it stood then."""
FIGURES = ("orchestrator", "worker", "broker")
PARTS = ("results", "dispatch", "encode_state", "poll", "apply")
"""Of the orchestrator's own work, as `decisions` measures it without a broker."""
COLOURS = ("#1f5fa8", "#2f7ed8", "#6aa5e8", "#9cc3f0", "#c3dbf7", "#5b6f8a", "#e0953f", "#8a93a0")
WIDTH, LEFT, BAR, TOP = 760, 70, 44, 60
LEAST_LABEL = 34
"""A part that is narrower (in pixels) has its figure in the legend alone."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar: parts of a task, in microseconds of CPU."""

    name: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """Microseconds of all parts."""
        return sum(value for _, value in self.parts)


def before() -> dict[str, Any]:
    """Return the recorded lines of the engine as it was."""
    lines: dict[str, Any] = json.loads(BEFORE.read_text(encoding="utf-8"))
    return lines


def stack_of(name: str, lines: Mapping[str, Mapping[str, Any]]) -> Stack:
    """Return the bar of one engine.

    Args:
        lines: what `fanout` and `decisions` said of it. What `decisions` does not measure of the orchestrator's process
            (Kafka's client, its threads) is a part of its own.
    """
    process = lines["fanout"]["figures"]["max_in_flight_2048"]
    own = lines["decisions"]["figures"]["orchestrator"]
    parts = [(part, float(own[f"{part}_us_per_task"])) for part in PARTS]
    whole = {each: float(process[f"{each}_cpu_us_per_task"]) for each in FIGURES}
    client = max(0.0, whole["orchestrator"] - sum(value for _, value in parts))
    others = [(each, whole[each]) for each in FIGURES[1:]]
    return Stack(name, (*parts, ("orchestrator's client", client), *others))


def drawn(title: str, stacks: Sequence[Stack]) -> str:
    """Return an SVG of stacked bars with a legend, readable on light and dark pages."""
    scale = (WIDTH - LEFT - 80) / max(stack.total for stack in stacks)
    legend_y = TOP + len(stacks) * (BAR + 14) + 10
    names = [name for name, _ in stacks[0].parts]
    height = legend_y + 20 * len(names) + 24
    label = f"{title}: " + "; ".join(
        f"{stack.name} {stack.total:.0f}: " + ", ".join(f"{name} {value:.0f}" for name, value in stack.parts)
        for stack in stacks
    )
    rows: list[str] = []
    for number, stack in enumerate(stacks):
        rows += _bar(stack, TOP + number * (BAR + 14), scale)
    rows.append(f'<text x="{LEFT + 270}" y="{legend_y}" font-size="11">µs, ' + " → ".join(s.name for s in stacks))
    rows[-1] += "</text>"
    for number, name in enumerate(names):
        y = legend_y + 8 + 20 * number
        values = " → ".join(f"{stack.parts[number][1]:.0f}" for stack in stacks)
        rows += [
            f'<rect x="{LEFT}" y="{y}" width="14" height="14" rx="2" fill="{COLOURS[number]}"/>',
            f'<text x="{LEFT + 22}" y="{y + 12}">{html.escape(name)}</text>',
            f'<text x="{LEFT + 270}" y="{y + 12}">{values}</text>',
        ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{html.escape(label, quote=True)}" font-family="sans-serif" font-size="13" fill="#6b7280">',
            f'<text x="8" y="18" font-size="15" font-weight="600">{html.escape(title)}</text>',
            '<text x="8" y="36" font-size="11">CPU microseconds a task, all processes; less is better</text>',
            *rows,
            "</svg>\n",
        ]
    )


def _bar(stack: Stack, y: int, scale: float) -> list[str]:
    rows, x = [f'<text x="{LEFT - 8}" y="{y + 27}" text-anchor="end">{html.escape(stack.name)}</text>'], float(LEFT)
    for colour, (_, value) in zip(COLOURS, stack.parts, strict=True):
        wide = value * scale
        rows.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour}"/>')
        if wide >= LEAST_LABEL:
            rows.append(
                f'<text x="{x + wide / 2:.1f}" y="{y + 27}" text-anchor="middle" fill="#ffffff">{value:.0f}</text>'
            )
        x += wide
    rows.append(f'<text x="{x + 6:.1f}" y="{y + 27}">{stack.total:.0f}</text>')
    return rows

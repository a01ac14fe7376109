"""Points on a plane of cost and accuracy, as SVG: readable on light and dark pages."""

from __future__ import annotations

import html
from collections.abc import Sequence
from math import ceil, floor, log10

Dot = tuple[str, float, float, bool]
"""Name, US dollars for 1,000 questions, accuracy, whether no other is better at its cost."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 64, 120, 54, 56
EDGE, OTHER, INK, FAINT = "#1f5fa8", "#e0953f", "#5b6f8a", "#8a93a0"
LINE_GAP = 15
"""Least distance of two names on top of each other, in pixels."""


def drawn(title: str, dots: Sequence[Dot]) -> str:
    """Return the picture. Cost is on a scale by powers of ten."""
    low, high = floor(log10(min(dot[1] for dot in dots))), ceil(log10(max(dot[1] for dot in dots)))
    least, most = floor(min(dot[2] for dot in dots) * 10) / 10, ceil(max(dot[2] for dot in dots) * 10) / 10
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(cost: float) -> float:
        return LEFT + (log10(cost) - low) / (high - low) * width

    def y(accuracy: float) -> float:
        return TOP + (most - accuracy) / (most - least) * height

    parts = [_text(LEFT, 26, title, size=16, ink=INK)]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts += [_line(at, TOP, at, TOP + height), _text(at, TOP + height + 20, f"{10.0**power:g}", anchor="middle")]
    for tenth in range(round(least * 10), round(most * 10) + 1):
        at = y(tenth / 10)
        parts += [_line(LEFT, at, LEFT + width, at), _text(LEFT - 8, at + 4, f"{tenth * 10} %", anchor="end")]
    parts.append(_text(LEFT + width / 2, HEIGHT - 12, "US dollars for 1,000 questions (list prices)", anchor="middle"))
    edge = sorted((cost, accuracy) for _, cost, accuracy, best in dots if best)
    path = " ".join(f"{x(cost):.1f},{y(accuracy):.1f}" for cost, accuracy in edge)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{EDGE}" stroke-width="2" stroke-opacity="0.5"/>')
    taken: list[tuple[float, float]] = []
    for name, cost, accuracy, best in sorted(dots, key=lambda dot: (not dot[3], -dot[2])):
        left, top, colour = x(cost), y(accuracy), EDGE if best else OTHER
        parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5" fill="{colour}"/>')
        if best:  # To the left and above, where by its nature nothing else lies.
            parts.append(_text(left - 9, top - 5, name, anchor="end", ink=colour, size=11))
            continue
        place = _free(top + 4, left, taken)
        taken.append((place, left))
        parts.append(_text(left + 9, place, name, ink=colour, size=11))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'role="img" aria-label="{html.escape(title)}">\n{body}\n</svg>\n'
    )


def _free(wanted: float, left: float, taken: Sequence[tuple[float, float]]) -> float:
    """Return the height nearest to the wanted one at which a name covers no other."""
    near = [place for place, other in taken if abs(other - left) < 200]
    offsets = sorted(range(-20, 21), key=lambda step: (abs(step), step))
    places = (wanted + step * LINE_GAP / 2 for step in offsets)
    return next((place for place in places if all(abs(place - other) >= LINE_GAP for other in near)), wanted)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{FAINT}" stroke-opacity="0.25"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", ink: str = FAINT, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}"'
    return f'<text {place} fill="{ink}" text-anchor="{anchor}">{html.escape(text)}</text>'

"""A workflow's graph as an SVG: one row a layer, the input above, the output below. Pure."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headrace.orchestrator.core.graph import Graph, Step

WIDE, HIGH, GAP_X, GAP_Y, MARGIN = 250, 52, 24, 44, 16
MOST_LETTERS = 38
"""Of a box's second line at 11 pixels; a longer one is cut, and whole in its title."""
COLOURS = {"none": "#8a93a0", "tasks": "#2f7ed8"}
"""Of a box's edge: steps that are computed where they stand, and steps that need workers."""
INPUT, OUTPUT = "", "\0"
"""Names that no step can have."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the picture."""

    name: str
    title: str
    text: str
    layer: int
    place: int
    """From the left, within its layer."""
    edge: str


def svg_of(graph: Graph, describe: Callable[[Step], str]) -> str:
    """Return the graph as an SVG document, readable on light and dark pages.

    Args:
        describe: what a step does, in a few words.
    """
    boxes, edges = _boxes(graph, describe), _edges(graph)
    counts = Counter(box.layer for box in boxes.values())
    widest = max(counts.values())
    width = 2 * MARGIN + widest * WIDE + (widest - 1) * GAP_X
    height = 2 * MARGIN + (boxes[OUTPUT].layer + 1) * (HIGH + GAP_Y) - GAP_Y
    label = f"{graph.ref}: " + "; ".join(f"{box.title} {box.text}".strip() for box in boxes.values())
    placed = {name: _corner(box, counts[box.layer], width) for name, box in boxes.items()}
    parts = [_line(placed[start], placed[end]) for start, end in edges]
    parts += [_box(box, placed[name]) for name, box in boxes.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{html.escape(label, quote=True)}" font-family="sans-serif" fill="#6b7280">',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#8a93a0"/></marker></defs>',
            *parts,
            "</svg>\n",
        ]
    )


def layers(graph: Graph) -> Mapping[str, int]:
    """Return the layer of each step: one below the lowest step that it needs; the input has layer 0."""
    found: dict[str, int] = {}
    for step in graph.steps:  # In topological order.
        found[step.name] = 1 + max((found[need] for need in step.needs), default=0)
    return found


def _boxes(graph: Graph, describe: Callable[[Step], str]) -> dict[str, Box]:
    at, taken = layers(graph), dict[int, int]()
    boxes = {INPUT: Box(INPUT, "input", "", 0, 0, "none")}
    for step in graph.steps:
        layer = at[step.name]
        place = taken[layer] = taken.get(layer, -1) + 1
        edge = "tasks" if step.makes_tasks else "none"
        boxes[step.name] = Box(step.name, step.name, describe(step), layer, place, edge)
    last = 1 + max(at.values(), default=0)
    boxes[OUTPUT] = Box(OUTPUT, "output", "", last, 0, "none")
    return boxes


def _edges(graph: Graph) -> list[tuple[str, str]]:
    edges = [(need, step.name) for step in graph.steps for need in step.needs or (INPUT,)]
    return edges + [(need, OUTPUT) for need in graph.output_needs or (INPUT,)]


def _corner(box: Box, count: int, width: int) -> tuple[float, float]:
    left = (width - count * WIDE - (count - 1) * GAP_X) / 2
    return left + box.place * (WIDE + GAP_X), MARGIN + box.layer * (HIGH + GAP_Y)


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1, x2, y2 = start[0] + WIDE / 2, start[1] + HIGH, end[0] + WIDE / 2, end[1]
    middle = (y1 + y2) / 2
    path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#8a93a0" marker-end="url(#arrow)"/>'


def _box(box: Box, corner: tuple[float, float]) -> str:
    x, y = corner
    centre, short = x + WIDE / 2, box.text
    if len(short) > MOST_LETTERS:
        short = short[: MOST_LETTERS - 1] + "…"
    title_y = y + (22 if box.text else 31)
    parts = [
        f"<g><title>{html.escape(f'{box.title}: {box.text}' if box.text else box.title)}</title>",
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{HIGH}" rx="{6 if box.text else 26}" '
        f'fill="#8a93a0" fill-opacity="0.08" stroke="{COLOURS[box.edge]}"/>',
        f'<text x="{centre:.0f}" y="{title_y:.0f}" text-anchor="middle" font-size="14" font-weight="600">'
        f"{html.escape(box.title)}</text>",
    ]
    if box.text:
        parts.append(
            f'<text x="{centre:.0f}" y="{y + 40:.0f}" text-anchor="middle" font-size="11">{html.escape(short)}</text>'
        )
    return "".join([*parts, "</g>"])

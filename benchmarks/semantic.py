"""Routing by example utterances, once a text has its vector: the worker's search, and the orchestrator's choice.

No model and no broker: the vectors are drawn, since what a search takes depends on their number and length alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from random import Random

from benchmarks.report import Report
from headrace.orchestrator.core.semantic import SemanticPlan, choose
from headrace.schemas.calls import Examples
from headrace.schemas.vectors import Vector, checked_vector
from headrace.workers.core.nearness import Nearness

DIMENSIONS = 384
"""Of MiniLM."""
ROUTES = 10
EXAMPLES = (200, 10_000)
"""Of all routes together: as in `examples/triage`, and the most that a call may have."""


def run(quick: bool) -> Report:
    """Search 200 and 10,000 example utterances of ten routes for as many texts as settle the 99th percentile."""
    texts = 2_000 if quick else 10_000
    return Report({f"examples_{count}": _search(count, texts) for count in EXAMPLES})


def _search(count: int, texts: int) -> dict[str, float | int]:
    draws = Random(count)
    each = count // ROUTES
    examples = tuple(Examples(route=f"route-{number}", texts=("",) * each) for number in range(ROUTES))
    nearness = Nearness(examples, [_drawn(draws) for _ in range(count)])
    asked = [_drawn(draws) for _ in range(100)]
    plan = SemanticPlan("embed", "", examples)
    found = [nearness.scores(vector) for vector in asked]  # Warm-up, and what the choice is made of.
    search = _timed(lambda at: nearness.scores(asked[at % len(asked)]), texts)
    choice = _timed(lambda at: choose(plan, {"scores": [found[at % len(asked)]]}), texts)
    return {
        "texts": texts,
        "search_p50_ms": round(statistics.median(search) * 1e3, 3),
        "search_p99_ms": round(_p99(search) * 1e3, 3),
        "choice_p50_us": round(statistics.median(choice) * 1e6, 1),
        "choice_p99_us": round(_p99(choice) * 1e6, 1),
        "memory_mb": round(nearness.size_bytes / 1e6, 1),
    }


def _timed(one: Callable[[int], object], texts: int) -> list[float]:
    took = []
    for at in range(texts):
        began = time.perf_counter()
        one(at)
        took.append(time.perf_counter() - began)
    return took


def _p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


def _drawn(draws: Random) -> Vector:
    return checked_vector(draws.gauss(0, 1) for _ in range(DIMENSIONS))

"""``python -m benchmarks.routing CLINC150.parquet``: thresholds of a semantic route, and how well each routes.

For five draws of twenty examples a domain, on the data set's validation rows: the defaults were chosen here (ADR 27),
and the requests of ``examples/triage`` are other rows. The file is the one that its ``prepare.py`` reads; needs the
extra ``embed`` and pyarrow. No broker: it embeds with the worker's own model and judges with the orchestrator's module.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from headrace.examples.triage.prepare import draw, read
from headrace.orchestrator.core.semantic import SemanticPlan, choose
from headrace.schemas.messages import Examples
from headrace.schemas.pools import Endpoint
from headrace.schemas.vectors import Vector
from headrace.workers.adapters.base import AdapterConfig, open_embedder
from headrace.workers.core.nearness import Nearness

DRAWS = range(100, 105)
AT_LEAST = (-1.0, 0.25, 0.3, 0.35)
MARGINS = (0.0, 0.02, 0.03, 0.04, 0.05)

Scores = Mapping[str, float]


class Figures(NamedTuple):
    """How well texts were routed."""

    accuracy: float
    """Of those that were routed and have a domain: the share that went to it."""
    abstained: float
    """Of those that have a domain."""
    strangers_found: float
    """Of those that have none: the share that the route turned away."""


def main() -> None:
    """Print a line for each pair of thresholds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="PARQUET")
    rows = read(parser.parse_args().file)
    kept = [row for row in rows if row["orig_split"] in ("val", "oos_val", "oos_train")]
    domains = [None if row["domain"] == "oos" else row["domain"] for row in kept]
    drawn = [_routes(draw(rows, seed)[0]) for seed in DRAWS]
    scores = [scored(routes, [row["text"] for row in kept]) for routes in drawn]
    for at_least in AT_LEAST:
        for margin in MARGINS:
            plans = [SemanticPlan("embed", "", routes, at_least, margin) for routes in drawn]
            found = [judged(plan, row, domains) for plan, row in zip(plans, scores, strict=True)]
            means = (f"{name} {statistics.mean(getattr(one, name) for one in found):.3f}" for name in Figures._fields)
            print(f"at_least {at_least:5} margin {margin:4}", *means, sep="  ")


def scored(routes: tuple[Examples, ...], texts: Sequence[str]) -> list[Scores]:
    """Return each text's scores by route."""
    shown = [text for each in routes for text in each.texts]
    vectors = asyncio.run(_embedded([*shown, *texts]))
    near = Nearness(routes, vectors[: len(shown)])
    return [near.scores(vector) for vector in vectors[len(shown) :]]


def judged(plan: SemanticPlan, scores: Sequence[Scores], domains: Sequence[str | None]) -> Figures:
    """Return how well texts were routed that belong to these domains; None: to none."""
    routes = [choose(plan, {"scores": [dict(row)]}).route for row in scores]
    inside = [(route, domain) for route, domain in zip(routes, domains, strict=True) if domain]
    strangers = [route for route, domain in zip(routes, domains, strict=True) if not domain]
    sent = [(route, domain) for route, domain in inside if route]
    return Figures(
        accuracy=sum(route == domain for route, domain in sent) / max(len(sent), 1),
        abstained=1 - len(sent) / max(len(inside), 1),
        strangers_found=strangers.count(None) / max(len(strangers), 1),
    )


async def _embedded(texts: Sequence[str]) -> list[Vector]:
    embedder = open_embedder(AdapterConfig("here", Endpoint(adapter="minilm")))
    try:
        return (await embedder.embed(texts, model="", timeout_s=3_600, idempotency_key="")).vectors
    finally:
        await embedder.close()


def _routes(examples: Mapping[str, Sequence[str]]) -> tuple[Examples, ...]:
    return tuple(Examples(route=domain, texts=tuple(texts)) for domain, texts in examples.items())


if __name__ == "__main__":
    main()

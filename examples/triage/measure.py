"""What the semantic route makes of the requests: ``python -m examples.triage.measure`` (extra ``embed``, no Kafka).

It embeds with the worker's own model and judges with the orchestrator's own module, so a job comes to the same.
``--tune CLINC150.parquet`` shows thresholds on rows that are not among the requests, for five draws of the examples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.orchestrator.core.semantic import AT_LEAST, MARGIN, SemanticPlan, choose
from headrace.schemas.messages import Examples
from headrace.schemas.pools import Endpoint
from headrace.schemas.vectors import Vector
from headrace.workers.adapters.base import AdapterConfig, open_embedder
from headrace.workers.core.nearness import Nearness

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Figures:
    """How well texts were routed."""

    accuracy: float
    """Of those that were routed and have a domain: the share that went to it."""
    abstained: float
    """Of those that have a domain."""
    strangers_found: float
    """Of those that have none: the share that the route turned away."""
    confused: Mapping[str, int]
    """Wrong decisions, by ``domain -> route``."""


def embed(texts: Sequence[str]) -> list[Vector]:
    """Return the texts' vectors, by the worker's own embedder."""

    async def main() -> list[Vector]:
        embedder = open_embedder(AdapterConfig("here", Endpoint(adapter="minilm")))
        try:
            return (await embedder.embed(texts, model="", timeout_s=3_600, idempotency_key="")).vectors
        finally:
            await embedder.close()

    return asyncio.run(main())


def scored(examples: Mapping[str, Sequence[str]], texts: Sequence[str]) -> list[dict[str, float]]:
    """Return each text's scores by domain."""
    routes = routes_of(examples)
    shown = [text for each in routes for text in each.texts]
    vectors = embed([*shown, *texts])
    near = Nearness(routes, vectors[: len(shown)])
    return [near.scores(vector) for vector in vectors[len(shown) :]]


def routes_of(examples: Mapping[str, Sequence[str]]) -> tuple[Examples, ...]:
    """Return the examples as a call carries them."""
    return tuple(Examples(route=domain, texts=tuple(texts)) for domain, texts in examples.items())


def judged(plan: SemanticPlan, scores: Sequence[Mapping[str, float]], domains: Sequence[str | None]) -> Figures:
    """Return how well texts were routed that belong to these domains."""
    routes = [choose(plan, {"scores": [dict(row)]}).route for row in scores]
    inside = [(route, domain) for route, domain in zip(routes, domains, strict=True) if domain]
    strangers = [route for route, domain in zip(routes, domains, strict=True) if not domain]
    sent = [(route, domain) for route, domain in inside if route]
    wrong = [f"{domain} -> {route}" for route, domain in sent if route != domain]
    return Figures(
        accuracy=1 - len(wrong) / max(len(sent), 1),
        abstained=1 - len(sent) / max(len(inside), 1),
        strangers_found=strangers.count(None) / max(len(strangers), 1),
        confused={name: wrong.count(name) for name in sorted(set(wrong), key=lambda name: (-wrong.count(name), name))},
    )


def read() -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Return the example's examples and requests."""
    examples = json.loads((HERE / "examples.json").read_text(encoding="utf-8"))
    return examples, json.loads((HERE / "input" / "requests.json").read_text(encoding="utf-8"))["requests"]


def measure(at_least: float = AT_LEAST, margin: float = MARGIN) -> Figures:
    """Return how well the example's requests are routed."""
    examples, requests = read()
    scores = scored(examples, [each["text"] for each in requests])
    plan = SemanticPlan("embed", "", routes_of(examples), at_least, margin)
    return judged(plan, scores, [each["domain"] for each in requests])


def tune(path: Path) -> None:
    """Print thresholds and what they come to on the validation rows."""
    from examples.triage.prepare import draw
    from examples.triage.prepare import read as read_rows

    rows = read_rows(path)
    kept = [row for row in rows if row["orig_split"] in ("val", "oos_val", "oos_train")]
    domains = [None if row["domain"] == "oos" else row["domain"] for row in kept]
    draws = [draw(rows, seed)[0] for seed in range(100, 105)]
    scores = [scored(examples, [row["text"] for row in kept]) for examples in draws]
    for at_least in (-1.0, 0.25, 0.3, 0.35):
        for margin in (0.0, 0.02, 0.03, 0.04, 0.05):
            plans = [SemanticPlan("embed", "", routes_of(examples), at_least, margin) for examples in draws]
            found = [judged(plan, row, domains) for plan, row in zip(plans, scores, strict=True)]
            print(f"at_least {at_least:5} margin {margin:4}", *(_mean(found, name) for name in NAMES), sep="  ")


NAMES = ("accuracy", "abstained", "strangers_found")


def _mean(found: Sequence[Figures], name: str) -> str:
    return f"{name} {sum(getattr(each, name) for each in found) / len(found):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", type=Path, metavar="PARQUET")
    options = parser.parse_args()
    if options.tune:
        tune(options.tune)
        return
    figures = measure()
    print(*(_mean([figures], name) for name in NAMES), sep="  ")
    print(json.dumps(figures.confused, indent=1))


if __name__ == "__main__":
    main()

"""One job of one task at a time, from submit to outcome, beside the same four hops through bare loops."""

from __future__ import annotations

import statistics
import time

from benchmarks.deployment import deployment
from benchmarks.raw import RawLoops
from benchmarks.report import Report, paired, spread
from headrace.console.client import HeadraceClient

WORKFLOW = {"name": "one", "version": 1, "steps": {"answer": {"llm": {"pool": "noop", "prompt": "{{ input.word }}"}}}}
WARM = 30


def run(quick: bool) -> Report:
    """Measure rounds of both by turns; a ratio is of the two in one round."""
    jobs, rounds = (200, 3) if quick else (500, 5)
    with deployment(workers={"noop": 1}) as here, HeadraceClient(here.settings) as client:
        raw = RawLoops(here, minimal=True)
        with raw.ping_pong() as ball:
            ours: list[dict[str, float]] = []
            bare: list[dict[str, float]] = []
            for _ in range(rounds):
                ours.append(percentiles([job(client) for _ in range(WARM + jobs)]))
                bare.append(percentiles([ball.once() for _ in range(WARM + jobs)]))
    return Report(
        {"headrace": summary(ours, jobs), "raw": summary(bare, jobs)},
        {
            "raw": paired([one["p50_ms"] for one in ours], [one["p50_ms"] for one in bare]),
            "raw_p99": paired([one["p99_ms"] for one in ours], [one["p99_ms"] for one in bare]),
        },
    )


def job(client: HeadraceClient) -> float:
    """Run one job; return its seconds."""
    began = time.perf_counter()
    client.outcome(client.submit(WORKFLOW, {"word": "word"}, lane="interactive"), timeout_s=30)
    return time.perf_counter() - began


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50, p90 and p99 in milliseconds of a round, without its warm-up."""
    cuts = statistics.quantiles(seconds[WARM:], n=100)
    return {"p50_ms": cuts[49] * 1e3, "p90_ms": cuts[89] * 1e3, "p99_ms": cuts[98] * 1e3}


def summary(rounds: list[dict[str, float]], jobs: int) -> dict[str, float | int | str]:
    """Return median and spread of the rounds' percentiles."""
    found: dict[str, float | int | str] = {"jobs": jobs}
    for name in rounds[0]:
        found |= spread([one[name] for one in rounds], name, digits=2)
    return found

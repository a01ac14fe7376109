"""One job of one task at a time, from submit to outcome, beside the same four hops through bare loops."""

from __future__ import annotations

import statistics
import time

from benchmarks.broker_counts import BrokerCounts, Tally
from benchmarks.deployment import deployment
from benchmarks.peers.contest import LATENCY, Contest, Entry
from benchmarks.peers.turns import PeerClient
from benchmarks.raw import RawLoops
from benchmarks.report import Figures, Report, paired, spread
from benchmarks.transactions import TransactionTally
from headrace.console.client import HeadraceClient

WORKFLOW = {"name": "one", "version": 1, "steps": {"answer": {"llm": {"pool": "noop", "prompt": "{{ input.word }}"}}}}
FULL, QUICK = (500, 5), (200, 3)
"""Jobs a round, and rounds."""
WARM = 30
FEW = 15
"""Round trips of a peer that takes a second for each."""


def run(quick: bool) -> Report:
    """Measure rounds of all by turns; a ratio is of two in one round."""
    jobs, rounds = QUICK if quick else FULL
    ours: list[dict[str, float]] = []
    bare: list[dict[str, float]] = []

    def ask(peer: PeerClient, entry: Entry) -> dict[str, float]:
        if entry.few:
            return {"p50_ms": statistics.median(peer.round_trips(FEW)) * 1e3}
        return percentiles(peer.round_trips(WARM + jobs))

    with (
        deployment(workers={"noop": 1}) as here,
        HeadraceClient(here.settings) as client,
        BrokerCounts(here.broker_pid) as broker,
    ):
        transactions, refused = TransactionTally(here, broker), Tally(broker)
        with RawLoops(here, minimal=True).ping_pong() as ball:
            peers = Contest(here, () if quick else LATENCY)
            for number in range(rounds):
                with transactions.counting():
                    ours.append(percentiles([job(client) for _ in range(WARM + jobs)]))
                with refused.counting():
                    bare.append(percentiles([ball.once() for _ in range(WARM + jobs)]))
                peers.round(number, ask)
    return Report(
        {
            "headrace": {**summary(ours, jobs), **transactions.figures()},
            "raw": {**summary(bare, jobs), **ball.figures(), **refused.figures()},
            **peer_figures(peers, jobs),
        },
        {
            "raw": paired([one["p50_ms"] for one in ours], [one["p50_ms"] for one in bare]),
            "raw_p99": paired([one["p99_ms"] for one in ours], [one["p99_ms"] for one in bare]),
            **peer_ratios(peers, ours),
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


def peer_figures(peers: Contest, jobs: int) -> dict[str, Figures]:
    """Return the peers' figures by case."""
    settings = peers.settings()
    cases: dict[str, Figures] = {
        case: {**summary(found, jobs if "p99_ms" in found[0] else FEW), "settings": settings[case]}
        for case, found in peers.found.items()
    }
    return {**cases, **peers.idle()}


def peer_ratios(peers: Contest, ours: list[dict[str, float]]) -> dict[str, float]:
    """Return Headrace ÷ peer of p50 and of p99, by peer."""
    ratios = {}
    for name in peers.names():
        for suffix, figure in (("", "p50_ms"), ("_p99", "p99_ms")):
            mine = [one[figure] for one in ours]
            ratios[f"{name}{suffix}"] = peers.ratio(name, figure, mine, best=min)
    return ratios

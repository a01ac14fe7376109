"""One job that fans out to many tasks and gathers them, from submit to outcome."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.broker_counts import BrokerCounts, Tally
from benchmarks.deployment import Deployment, cpu_seconds, deployment
from benchmarks.payload import PAYLOAD
from benchmarks.peers.contest import FAN_OUT, Contest, Entry
from benchmarks.peers.turns import PeerClient
from benchmarks.raw import CASES, TASKS, WINDOW, RawLoops, raw_figures
from benchmarks.report import Figures, Report, paired, spread
from benchmarks.transactions import TransactionTally
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

WARM_RUNS = 3
"""Of everybody who writes to Kafka, before the clock runs: the broker's JVM compiles for the first hundred thousand
records, on the cores that are measured."""
FULL, QUICK = 5, 3
"""Rounds."""
WARM_TASKS = 500
"""Of a peer, whose processes have just started."""


def workflow(pool: str, max_in_flight: int) -> dict[str, Any]:
    """Return a workflow of one fan-out step."""
    llm = {"pool": pool, "prompt": "{{ item }}"}
    step = {"for_each": "{{ input.items }}", "max_in_flight": max_in_flight, "llm": llm}
    return {"name": "fanout", "version": 1, "steps": {"work": step}, "output": "{{ work | length }}"}


def once(client: HeadraceClient, pool: str, tasks: int, max_in_flight: int) -> float:
    """Run one job and return the seconds from submit to outcome."""
    # One payload repeated would make the submission larger than the work: the items are built from an index.
    items = [f"{number}:{PAYLOAD}" if tasks <= 2_000 else number for number in range(tasks)]
    document = workflow(pool, max_in_flight)
    if tasks > 2_000:
        document["steps"]["work"]["llm"]["prompt"] = "{{ item }}:" + PAYLOAD
    began = time.perf_counter()
    outcome = client.outcome(client.submit(document, {"items": items}), timeout_s=300)
    seconds = time.perf_counter() - began
    assert outcome.status is JobStatus.SUCCEEDED, outcome
    assert outcome.output == tasks, outcome.output
    return seconds


class Fanout:
    """Fan-outs of one deployment, one at a time."""

    def __init__(
        self,
        here: Deployment,
        client: HeadraceClient,
        pool: str,
        broker: BrokerCounts,
        *,
        tasks: int,
        max_in_flight: int,
    ) -> None:
        self._here, self._client, self._pool = here, client, pool
        self._transactions = TransactionTally(here, broker)
        self._tasks, self._window = tasks, max_in_flight
        self._processes = {"worker": f"worker-{pool}-0", "orchestrator": "orchestrator-0"}
        for _ in range(WARM_RUNS):
            once(client, pool, tasks, max_in_flight)
        self.seconds: list[float] = []
        self._spent: dict[str, float] = {}

    def run(self) -> float:
        """Fan out once; return tasks a second."""
        before = self._used()
        with self._transactions.counting():
            self.seconds.append(once(self._client, self._pool, self._tasks, self._window))
        for name, now in self._used().items():
            self._spent[name] = self._spent.get(name, 0.0) + now - before[name]
        return self._tasks / self.seconds[-1]

    def figures(self) -> dict[str, float | int | str]:
        """Return the figures of the runs so far."""
        total, spent = self._tasks * len(self.seconds), self._spent
        return {
            "tasks": self._tasks,
            **spread([self._tasks / each for each in self.seconds], "tasks_per_s"),
            **{f"{name}_cpu_us_per_task": round(seconds / total * 1e6, 1) for name, seconds in spent.items()},
            **self._transactions.figures(),
        }

    def _used(self) -> dict[str, float]:
        """Return CPU seconds of each process; the broker's, where it is ours, with what its compiler takes."""
        used = {name: self._here.cpu_seconds(process) for name, process in self._processes.items()}
        return used if self._here.broker_pid is None else {**used, "broker": cpu_seconds(self._here.broker_pid)}


def run(quick: bool) -> Report:
    """Fan out on the pool ``noop``, by turns with the bare loops and, unless ``quick``, with what others offer."""
    rounds = QUICK if quick else FULL
    with (
        deployment(workers={"noop": 1}) as here,
        HeadraceClient(here.settings) as client,
        BrokerCounts(here.broker_pid) as broker,
    ):
        wide = Fanout(here, client, "noop", broker, tasks=TASKS, max_in_flight=WINDOW)
        narrow = Fanout(here, client, "noop", broker, tasks=TASKS, max_in_flight=256)
        loops = {name: RawLoops(here, minimal=minimal) for name, minimal in CASES}
        for bare in loops.values():
            for _ in range(WARM_RUNS):
                bare.fan_out(TASKS, WINDOW)
        tallies = {name: Tally(broker) for name in loops}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
        ours: list[float] = []
        peers = Contest(here, () if quick else FAN_OUT)
        for number in range(rounds):
            ours.append(wide.run())
            for name, bare in loops.items():
                with tallies[name].counting():
                    found[name].append(bare.fan_out(TASKS, WINDOW))
            peers.round(number, fan_out)
        for _ in range(rounds):
            narrow.run()
        bare_rates = {name: [one["tasks_per_s"] for one in runs] for name, runs in found.items()}
        return Report(
            {
                "max_in_flight_2048": wide.figures(),
                "max_in_flight_256": narrow.figures(),
                **{name: {**raw_figures(runs), **tallies[name].figures()} for name, runs in found.items()},
                **peer_figures(peers),
            },
            {
                **{name: paired(ours, rates) for name, rates in bare_rates.items()},
                **{name: peers.ratio(name, "tasks_per_s", ours, best=max) for name in peers.names()},
            },
        )


def fan_out(client: PeerClient, _: Entry) -> dict[str, float]:
    """Warm a peer up and fan out once."""
    client.fan_out(WARM_TASKS)
    return {"tasks_per_s": TASKS / client.fan_out(TASKS)}


def peer_figures(peers: Contest) -> dict[str, Figures]:
    """Return the peers' figures by case."""
    settings = peers.settings()
    cases: dict[str, Figures] = {
        case: {
            "tasks": TASKS,
            **spread([one["tasks_per_s"] for one in runs], "tasks_per_s"),
            "settings": settings[case],
        }
        for case, runs in peers.found.items()
    }
    return {**cases, **peers.idle()}


def run_http(quick: bool) -> Report:
    """Fan out over HTTP to the scripted provider at 0 ms, in its own process."""
    tasks, rounds = (1_000, 3) if quick else (10_000, 3)
    with (
        deployment(workers={"http": 1}, provider=True) as here,
        HeadraceClient(here.settings) as client,
        BrokerCounts(here.broker_pid) as broker,
    ):
        fanout = Fanout(here, client, "http", broker, tasks=tasks, max_in_flight=WINDOW)
        for _ in range(rounds):
            fanout.run()
        return Report({"http": fanout.figures()})

"""One job that fans out to many tasks and gathers them, from submit to outcome."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.deployment import Deployment, deployment
from benchmarks.raw import CASES, TASKS, WINDOW, RawLoops, raw_figures
from benchmarks.raw_loops import PAYLOAD
from benchmarks.report import Report, paired, spread
from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

WARM_RUNS = 3
"""Of everybody, before the clock runs: the broker's JVM compiles for the first hundred thousand records, on the cores
that are measured."""


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

    def __init__(self, here: Deployment, client: HeadraceClient, pool: str, *, tasks: int, max_in_flight: int) -> None:
        self._here, self._client, self._pool = here, client, pool
        self._tasks, self._window = tasks, max_in_flight
        self._processes = {"worker": f"worker-{pool}-0", "orchestrator": "orchestrator-0"}
        for _ in range(WARM_RUNS):
            once(client, pool, tasks, max_in_flight)
        self.seconds: list[float] = []
        self._spent: dict[str, float] = {}

    def run(self) -> float:
        """Fan out once; return tasks a second."""
        before = self._used()
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
            **{f"{name}_cpu_us_per_task": round(spent[name] / total * 1e6, 1) for name in self._processes},
            "transactions_per_s": round(spent["transactions"] / sum(self.seconds), 1),
            "transaction_ms": round(spent["transaction_s"] / spent["transactions"] * 1e3, 2),
        }

    def _used(self) -> dict[str, float]:
        """Return CPU seconds of each process, and how many transactions there were and how long they took."""
        orchestrator, metric = self._processes["orchestrator"], "headrace_transaction_seconds"
        return {
            **{name: self._here.cpu_seconds(process) for name, process in self._processes.items()},
            "transactions": self._here.metric(orchestrator, f"{metric}_count"),
            "transaction_s": self._here.metric(orchestrator, f"{metric}_sum"),
        }


def run(quick: bool) -> Report:
    """Fan out on the pool ``noop``, by turns with the bare loops: the engine alone."""
    rounds = 3 if quick else 5
    with deployment(workers={"noop": 1}) as here, HeadraceClient(here.settings) as client:
        wide = Fanout(here, client, "noop", tasks=TASKS, max_in_flight=WINDOW)
        narrow = Fanout(here, client, "noop", tasks=TASKS, max_in_flight=256)
        loops = {name: RawLoops(here, minimal=minimal) for name, minimal in CASES}
        for bare in loops.values():
            for _ in range(WARM_RUNS):
                bare.fan_out(TASKS, WINDOW)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
        ours: list[float] = []
        for _ in range(rounds):
            ours.append(wide.run())
            for name, bare in loops.items():
                found[name].append(bare.fan_out(TASKS, WINDOW))
        for _ in range(rounds):
            narrow.run()
        bare_rates = {name: [one["tasks_per_s"] for one in runs] for name, runs in found.items()}
        return Report(
            {
                "max_in_flight_2048": wide.figures(),
                "max_in_flight_256": narrow.figures(),
                **{name: raw_figures(runs) for name, runs in found.items()},
            },
            {name: paired(ours, rates) for name, rates in bare_rates.items()},
        )


def run_http(quick: bool) -> Report:
    """Fan out over HTTP to the scripted provider at 0 ms, in its own process."""
    tasks, rounds = (1_000, 3) if quick else (10_000, 3)
    with deployment(workers={"http": 1}, provider=True) as here, HeadraceClient(here.settings) as client:
        fanout = Fanout(here, client, "http", tasks=tasks, max_in_flight=WINDOW)
        for _ in range(rounds):
            fanout.run()
        return Report({"http": fanout.figures()})

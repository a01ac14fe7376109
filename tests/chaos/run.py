"""One run: start, load, faults, rest, evidence, verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from headrace import __version__
from headrace.runtime.kafka_jars import kafka_version
from tests.chaos import collect
from tests.chaos.cluster import READY_S, Cluster, cluster
from tests.chaos.evidence import Evidence, Run
from tests.chaos.faults import Injector
from tests.chaos.jobs import JobSource
from tests.chaos.load import Load, Pace
from tests.chaos.machine import Watch
from tests.chaos.plan import Shape, draw_plan
from tests.chaos.probes import Probes
from tests.chaos.tail import OutcomeTail

SETTLE_S = 120.0
"""How long after the end of the load everything may take to be over."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    seconds: float = 300.0
    seed: int = 0
    protocol: str = "classic"
    shape: Shape = field(default_factory=Shape)
    pace: Pace = field(default_factory=Pace)
    calm: bool = False
    """No faults: what the load alone does to this machine."""


class Clock:
    """The run's clock: seconds since the load began."""

    def __init__(self) -> None:
        self._zero = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._zero

    def begin(self) -> None:
        self._zero = time.monotonic()


def run(options: Options, folder: Path, say: Callable[[str], None]) -> Evidence:
    """Do it all.

    Args:
        folder: empty; everything is written there, logs included.
        say: told how it goes.
    """
    plan = () if options.calm else draw_plan(options.seed, options.seconds, options.shape)
    say(f"seed {options.seed}, {options.seconds:g} s, protocol {options.protocol}, {options.shape.brokers} broker(s)")
    for fault in plan:
        say(f"  {fault}")
    now_s, began = Clock(), datetime.now(UTC)
    brokers = options.shape.brokers
    with cluster(folder, brokers=brokers, protocol=options.protocol, now_s=now_s) as here:
        names = [here.start(role, number) for role, count in options.shape.small for number in range(count)]
        if late := here.fleet.wait_ready(names, READY_S):
            raise TimeoutError(f"not ready within {READY_S:g} s: {', '.join(late)}; see {folder / 'logs'}")
        with OutcomeTail(here.settings, now_s) as tail, ExitStack() as held:
            load = Load(here.settings, JobSource(options.seed), options.pace, tail, now_s)
            probes = Probes(here.settings, tail, now_s)
            injector = Injector(here, now_s, say)
            now_s.begin()
            watch = held.enter_context(Watch(lambda: say(_so_far(load, probes, tail, now_s))))
            load.start()
            probes.start()
            injector.run(plan)
            time.sleep(max(0.0, options.seconds - now_s()))
            say(f"{now_s():6.1f} s  the load ends: {len(load.submitted)} jobs, {len(probes.submitted)} probes")
            machine = watch.figures()
            evidence = _rest(here, load, probes, tail, now_s)
        evidence.run, evidence.done, evidence.machine = _named(options, began), injector.done, machine
    evidence.exits = here.fleet.exits
    return evidence


def _named(options: Options, began: datetime) -> Run:
    return Run(
        date=f"{began:%Y-%m-%d %H:%M}",
        version=__version__,
        kafka=kafka_version(),
        protocol=options.protocol,
        seed=options.seed,
        seconds=options.seconds,
        brokers=options.shape.brokers,
    )


def _rest(here: Cluster, load: Load, probes: Probes, tail: OutcomeTail, now_s: Clock) -> Evidence:
    """End the load, wait until everything is over, and gather what is to be judged."""
    began = now_s()
    load.stop()
    probes.stop()
    submitted = {**load.submitted, **probes.submitted}
    accepted = [job_id for job_id, known in submitted.items() if known.accepted_s is not None]
    collect.wait_until(lambda: all(job_id in tail.seen for job_id in accepted), SETTLE_S)
    settings = here.settings
    left = SETTLE_S - (now_s() - began)
    collect.wait_until(lambda: not collect.lags(settings), max(5.0, left), every_s=2.0)
    collect.wait_until(lambda: not _open_state(collect.state_keys(settings)), 15.0, every_s=2.0)
    settled = now_s() - began
    stats, asked_s = here.ask_provider("/stats"), now_s()
    return Evidence(
        submitted=submitted,
        nameless=load.nameless,
        outcomes=collect.outcomes(settings),
        letters=collect.letters(settings),
        stray_letters=load.strays,
        calls=collect.calls(here.ask_provider("/log"), offset_s=asked_s - stats["now_s"], now_s=asked_s),
        probes=probes.results(),
        lags=collect.lags(settings),
        state_keys=collect.state_keys(settings),
        settled_s=settled,
        settle_limit_s=SETTLE_S + 60.0,
        slowest_ack_s=probes.slowest_ack_s,
    )


def _so_far(load: Load, probes: Probes, tail: OutcomeTail, now_s: Clock) -> str:
    jobs, answered = len(load.submitted) + len(probes.submitted), len(tail.seen)
    return f"{now_s():6.1f} s      {jobs} submitted, {answered} answered; load average {os.getloadavg()[0]:.1f}"


def _open_state(keys: list[str]) -> list[str]:
    return [key for key in keys if key.startswith(("job/", "input/", "task/"))]

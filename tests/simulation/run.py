"""One run: a world is built from its seed, lives through its faults, calms down, and is judged."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.schemas.topics import Topics
from tests.simulation import seams
from tests.simulation.chaos import CALM_US, Chaos
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import POOLS, RETENTION_S, Fleet, draw_shape, settings_for
from tests.simulation.faults import Faults, Switches, draw_switches
from tests.simulation.history import History
from tests.simulation.judges import judge
from tests.simulation.judges.order import ResultsFirst
from tests.simulation.objects import SimObjects
from tests.simulation.provider import Provider
from tests.simulation.scene import Scene
from tests.simulation.services import Services
from tests.simulation.watch import Watch
from tests.simulation.workload import Workload
from tests.simulation.world import World

JOBS = 20
LIVENESS_US = 60_000_000
"""After the world has calmed down, everything is finished within this since the last call or the last new job: a
deployment with little room may call for longer than that, and one that nests waits for one job after the other."""
LONGEST_US = 600_000_000
STEP_US = 250_000
SKEW_MS = 1_500


@dataclass(slots=True)
class Verdict:
    """What came of a run."""

    seed: int
    switches: Switches
    digest: int = 0
    """Of every step that was taken, and of all that was written: equal only for the same run."""
    problems: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


class Run:
    """One world and everything in it."""

    def __init__(
        self,
        seed: int,
        *,
        jobs: int = JOBS,
        switches: Switches | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.world = world = World(seed, trace=trace)
        self.switches = switches if switches is not None else draw_switches(world)
        self.faults = Faults(world, self.switches)
        self.shape = draw_shape(world.draws("shape"))
        self.topics = Topics("sim")
        specs = self.topics.catalogue(
            list(POOLS.pools), partitions=self.shape.partitions, task_partitions=self.shape.task_partitions
        )
        self.cluster = Cluster(world, specs)
        self.objects = SimObjects(world, self.faults)
        self.provider = Provider(world, self.faults, latency_s=self.shape.latency_s)
        self.services = Services(world, self.faults, latency_s=self.shape.latency_s)
        skew_ms = SKEW_MS if self.switches.skew else 0
        self.fleet = Fleet(world, settings_for(self.shape), self.shape, self.objects, skew_ms=skew_ms)
        self.workload = Workload(world, self.cluster, self.objects, jobs=jobs, topic=self.topics.jobs)
        self.chaos = Chaos(world, self.cluster, self.fleet, self.faults, self.topics)
        self.watch = Watch(self.cluster, self.topics)
        self.order = ResultsFirst(self.cluster, self.topics)
        self.problems: list[str] = []

    def verdict(self) -> Verdict:
        """Live through it all, and be judged."""
        stage = Scene(self.world, self.cluster, self.faults)
        with seams.installed(
            stage, adapter=self.provider.adapter, tool=self.services.tool, objects=lambda _: self.objects
        ):
            try:
                self._live()
            finally:
                self.fleet.end()
        return self._judge()

    def _live(self) -> None:
        for number in range(self.shape.orchestrators):
            self.fleet.want(f"o-{number}")
        for pool in POOLS.pools:
            for number in range(self.shape.workers_of(pool)):
                self.fleet.want(f"{pool}-{number}")
        world = self.world
        world.run(CALM_US)
        if not self._settles():
            self.problems += self.watch.unfinished()
            return
        self._stop(*POOLS.pools)
        self._until((RETENTION_S + 70) * 1_000_000, self.watch.forgotten)
        self.problems += self.watch.leftovers()
        self._stop("o")

    def _settles(self) -> bool:
        """Let time pass until all is quiet; return whether it came to that."""
        world, begun, begun_us = self.world, self._begun(), self.world.now_us
        end_us = begun_us + LONGEST_US
        while world.now_us < min(end_us, begun_us + LIVENESS_US):
            world.run(world.now_us + STEP_US)
            if self._quiet():
                return True
            if self._begun() > begun:
                begun, begun_us = self._begun(), world.now_us
        return False

    def _begun(self) -> int:
        """Return how many calls and jobs were begun: a nested job that waits for a signal calls nobody."""
        return self._calls() + sum(len(log.entries) for log in self.cluster.topics[self.topics.jobs])

    def _calls(self) -> int:
        return len(self.provider.calls) + len(self.services.calls)

    def _quiet(self) -> bool:
        return not self.workload.submitted and self.watch.quiet()

    def _until(self, within_us: int, done: Callable[[], bool]) -> bool:
        """Let time pass until something holds; return whether it came to hold in time."""
        end_us = self.world.now_us + within_us
        while self.world.now_us < end_us:
            self.world.run(self.world.now_us + STEP_US)
            if done():
                return True
        return False

    def _stop(self, *kinds: str) -> None:
        """Stop gracefully what is left; it must end soon and well."""
        slots = [slot for slot in self.fleet.running if slot.rpartition("-")[0] in kinds]
        before = len(self.fleet.endings)
        for slot in list(self.fleet.wanted):
            if slot.rpartition("-")[0] in kinds:
                self.fleet.stop(slot)
        if not self._until(30_000_000, lambda: not any(slot in self.fleet.running for slot in slots)):
            self.problems.append(f"liveness: of {slots} still run after SIGTERM: {list(self.fleet.running)}")
        for _, name, by in self.fleet.endings[before:]:
            if by is not None:
                self.problems.append(f"liveness: {name} was told to stop and ended by {by!r}")

    def _judge(self) -> Verdict:
        history = History(
            self.cluster,
            self.topics,
            calls=self.provider.calls,
            served=self.services.calls,
            chaos=self.chaos,
            objects=self.objects.content,
        )
        problems = self.problems + [f"crash: {each}" for each in self.world.findings]
        problems += self.order.problems + judge(history)
        figures = {
            "events": self.world.events,
            "seconds": self.world.now_us / 1e6,
            "calls": self._calls(),
        }
        digest = self.world.digest ^ history.digest()
        return Verdict(self.world.seed, self.switches, digest, problems, figures)


def run_seed(
    seed: int, *, jobs: int = JOBS, switches: Switches | None = None, trace: Callable[[str], None] | None = None
) -> Verdict:
    """Run one seed. The collector runs before it and waits then: nothing is finalised within the world."""
    gc.collect()
    gc.disable()
    try:
        return Run(seed, jobs=jobs, switches=switches, trace=trace).verdict()
    finally:
        gc.enable()

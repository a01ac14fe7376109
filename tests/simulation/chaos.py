"""Faults as they happen: who is killed or frozen at which boundary, and what else goes wrong while it does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import POOLS, SESSION_MS, Fleet
from tests.simulation.faults import Faults
from tests.simulation.log import hidden
from tests.simulation.process import FREEZE, KILL, Process
from tests.simulation.world import World

BEGIN_US, CALM_US = 500_000, 11_000_000
"""When faults begin and when they end."""
LONG_US = (50_000, SESSION_MS * 1_000)
MAX_PROCESSES = 3
GARBAGE = (
    b"not json",
    b"{}",
    b"\xff\xfe\x00",
    b'{"job_id": "../../etc"}',
    b'{"type": "cancel"}',
    b"[1, 2",
    b'{"task_id": "nobody/first/0", "job_id": "nobody", "attempt": 1}',
)


class Chaos:
    """Draws a fault every few hundred milliseconds until the world calms down."""

    def __init__(self, world: World, cluster: Cluster, fleet: Fleet, faults: Faults, topics: Topics) -> None:
        self._world = world
        self._cluster = cluster
        self._fleet = fleet
        self._faults = faults
        self._topics = topics
        self._draws = world.draws("chaos")
        self.garbage: list[tuple[str, int, int]] = []
        """Where records were written that nobody can read."""
        switches = faults.switches
        kinds: list[tuple[bool, Callable[[], None]]] = [
            (switches.crash, self._crash),
            (switches.freeze, self._freeze),
            (switches.scale, self._scale),
            (switches.duplicate, self._duplicate),
            (switches.cut, self._cut),
            (switches.replaced, self._replace),
            (switches.skew, self._jump),
            (switches.slow, self._slow),
            (switches.loss, self._lose),
            (switches.rebalance, self._rebalance),
            (switches.garbage, self._garbage),
        ]
        self._kinds = [act for on, act in kinds if on]
        if self._kinds:
            world.at(BEGIN_US, self._next)
        world.at(CALM_US, self._calm)

    def _next(self) -> None:
        if self._faults.calm:
            return
        self._draws.choice(self._kinds)()
        self._world.at(self._draws.randrange(30_000, 900_000), self._next)

    def _calm(self) -> None:
        """Everything heals: from now on all must be finished within a bounded time."""
        self._world.note("calm")
        self._faults.calm = True
        self._cluster.network.slow, self._cluster.network.loss = 1, 0.0
        for process in self._fleet.replaced:
            process.kill()  # Sooner or later somebody sees that a slot has two.
        for process in self._fleet.running.values():
            process.fate_at = process.fate_at_write = -1
            process.reach()
            process.thaw()
        for slot in list(self._fleet.wanted):
            self._fleet.want(slot)

    def _victim(self) -> Process | None:
        """Draw a process that runs; orchestrators are few beside the workers, and it is they who decide."""
        processes = [p for p in self._fleet.running.values() if p.alive and not p.frozen]
        if self._draws.random() < 0.4:
            processes = [p for p in processes if p.name.startswith("o-")]
        return self._draws.choice(processes) if processes else None

    def _doom(self, kind: str, value: int) -> Process | None:
        """Let a process meet its fate at one of its next boundaries."""
        process = self._victim()
        if process is not None:
            process.fate = (kind, value)
            if self._draws.random() < 0.5:
                process.fate_at_write = process.writes + 1 + int(self._draws.random() ** 2 * 60)
            else:
                process.fate_at = process.boundaries + 1 + int(self._draws.random() ** 2 * 300)
        return process

    def _crash(self) -> None:
        self._doom(KILL, 0)
        while self._draws.random() < 0.2:
            self._doom(KILL, 0)

    def _freeze(self) -> None:
        self._doom(FREEZE, self._span_us(0.6))

    def _span_us(self, longer: float) -> int:
        """Draw a time: with some probability longer than a session."""
        session_us = SESSION_MS * 1_000
        return self._draws.randrange(*((session_us, session_us * 3) if self._draws.random() < longer else LONG_US))

    def _cut(self) -> None:
        if (process := self._victim()) is not None:
            span_us = self._span_us(0.5)
            self._world.note(f"{process.name} is cut off for {span_us / 1e6:.3f} s")
            process.cut_off(span_us)

    def _replace(self) -> None:
        """Freeze a process, put another one in its place, and let it go on."""
        process = self._doom(FREEZE, self._span_us(0.7))
        if process is not None:
            self._world.at(self._draws.randrange(100_000, 1_500_000), self._replace_frozen, process)

    def _replace_frozen(self, process: Process) -> None:
        if process.frozen and not self._faults.calm:
            self._fleet.replace(process)

    def _jump(self) -> None:
        """Set a wall clock, as a time server does after a while."""
        if (process := self._victim()) is not None:
            process.skew_us = self._draws.randrange(-1_500_000, 1_500_000)

    def _scale(self) -> None:
        kind = self._draws.choice(("o", *POOLS.pools))
        slots = [slot for slot in self._fleet.wanted if slot.rpartition("-")[0] == kind]
        if len(slots) > 1 and self._draws.random() < 0.5:
            self._fleet.stop(self._draws.choice(slots))
        elif self._draws.random() < 0.4:
            self._fleet.terminate(self._draws.choice(slots))
        else:
            free = [f"{kind}-{n}" for n in range(MAX_PROCESSES) if f"{kind}-{n}" not in self._fleet.wanted]
            if free:
                self._fleet.want(free[0])

    def _duplicate(self) -> None:
        """Write a recent record of jobs or results once more, as a producer without idempotence does."""
        topic = self._draws.choice((self._topics.jobs, self._topics.results))
        log = self._draws.choice(self._cluster.topics[topic])
        recent = [e for e in log.entries[-20:] if e is not None and not hidden(e) and e.part is None]
        if recent:
            entry = self._draws.choice(recent)
            copy = log.append(entry.key(), entry.value(), entry.headers())
            log.moved()
            if (topic, log.partition, entry.offset()) in self.garbage:
                self.garbage.append((topic, log.partition, copy.offset()))

    def _slow(self) -> None:
        network = self._cluster.network
        network.slow = self._draws.choice((5, 20, 100))
        self._world.at(self._draws.randrange(200_000, 2_000_000), setattr, network, "slow", 1)

    def _lose(self) -> None:
        network = self._cluster.network
        network.loss = self._draws.choice((0.05, 0.3))
        self._world.at(self._draws.randrange(200_000, 1_500_000), setattr, network, "loss", 0.0)

    def _rebalance(self) -> None:
        self._draws.choice(list(self._cluster.groups.values())).rebalance()

    def _garbage(self) -> None:
        topics = self._topics
        names = [topics.jobs, topics.results, topics.control]
        names += [name for name in self._cluster.topics if name.startswith(f"{topics.prefix}.tasks.")]
        name = self._draws.choice(names)
        partition = self._draws.randrange(self._cluster.partition_count(name))
        key = self._draws.choice((None, b"\xff", b"job/nobody", b"x"))
        offset = self._cluster.write(name, partition, key, _garbage(self._draws))
        self.garbage.append((name, partition, offset))


def _garbage(draws: Random) -> bytes | None:
    return None if draws.random() < 0.1 else draws.choice(GARBAGE)

"""Faults as they happen: who is killed or frozen at which boundary, and what else goes wrong while it does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.deployment import HOUSE, OPEN, SESSION_MS, Fleet
from tests.simulation.faults import Faults
from tests.simulation.log import hidden
from tests.simulation.process import FREEZE, KILL
from tests.simulation.world import World

BEGIN_US, CALM_US = 500_000, 11_000_000
"""When faults begin and when they end."""
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
        self.in_flight_at_kills = 0
        switches = faults.switches
        kinds: list[tuple[bool, Callable[[], None]]] = [
            (switches.crash, self._crash),
            (switches.freeze, self._freeze),
            (switches.scale, self._scale),
            (switches.duplicate, self._duplicate),
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
        for process in self._fleet.running.values():
            process.fate_at = process.fate_at_write = -1
            process.thaw()
        for slot in list(self._fleet.wanted):
            self._fleet.want(slot)

    def _doom(self, kind: str, value: int) -> None:
        """Let a process meet its fate at one of its next boundaries."""
        processes = [p for p in self._fleet.running.values() if p.alive and not p.frozen]
        if self._draws.random() < 0.4:
            # Orchestrators are few beside the workers, and it is they who decide.
            processes = [p for p in processes if p.name.startswith("o-")]
        if processes:
            process = self._draws.choice(processes)
            process.fate = (kind, value)
            if self._draws.random() < 0.5:
                process.fate_at_write = process.writes + 1 + int(self._draws.random() ** 2 * 60)
            else:
                process.fate_at = process.boundaries + 1 + int(self._draws.random() ** 2 * 300)

    def _crash(self) -> None:
        self._doom(KILL, 0)

    def _freeze(self) -> None:
        session_us = SESSION_MS * 1_000
        long = self._draws.random() < 0.6
        span = (session_us, session_us * 3) if long else (50_000, session_us)
        self._doom(FREEZE, self._draws.randrange(*span))

    def _scale(self) -> None:
        kind = self._draws.choice(("o", OPEN, HOUSE))
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
            log.append(entry.key(), entry.value(), entry.headers())
            log.moved()

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

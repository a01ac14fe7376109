"""Who may dispatch next: room by pool and lane, dealt by turns over tenants, then over jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from headrace.schemas.values import value_object

Channel = tuple[str, str]
"""A pool and a lane."""

QUANTUM = 16
"""Tasks a job gets a turn: enough to fill a transaction, small enough that a job of one task waits for few."""

FIRST = 256
"""Most tasks of a batch while nothing is out: the workers begin with these while the others are decided."""


@value_object(frozen=True, slots=True)
class Demand:
    """What one step of a job wants to dispatch."""

    step: str
    pool: str
    live: int
    """Tasks of the step on the topic or with a worker."""
    ready: int
    """Tasks that could go out now, within the job's own window."""


@value_object(frozen=True, slots=True)
class Standing:
    """Where a job stands with the window."""

    tenant: str
    lane: str
    priority: int
    demands: tuple[Demand, ...] = ()


@value_object(frozen=True, slots=True)
class Grant:
    """Room for some tasks of a step."""

    job_id: str
    step: str
    count: int


@dataclass(slots=True)
class _Channel:
    live: int = 0
    tenants: dict[str, dict[int, dict[str, None]]] = field(default_factory=dict)
    """Tenants with ready jobs, under each its jobs by priority; tenants and jobs in turn order, the next first."""
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Where each ready job stands: tenant and priority."""

    def enlist(self, job_id: str, tenant: str, priority: int) -> None:
        """Give a job its place; a place held is kept."""
        if self.places.get(job_id) == (tenant, priority):
            return
        self.strike(job_id)
        self.places[job_id] = (tenant, priority)
        self.tenants.setdefault(tenant, {}).setdefault(priority, {})[job_id] = None

    def strike(self, job_id: str) -> None:
        """Take a job's place away."""
        if (place := self.places.pop(job_id, None)) is None:
            return
        tenant, priority = place
        ranks = self.tenants[tenant]
        del ranks[priority][job_id]
        if not ranks[priority]:
            del ranks[priority]
        if not ranks:
            del self.tenants[tenant]

    def next_job(self, tenant: str) -> str:
        """Return a tenant's job of the highest priority that waits longest, and move it to the end of its order."""
        ranks = self.tenants[tenant]
        jobs = ranks[max(ranks)]
        job_id = next(iter(jobs))
        jobs[job_id] = jobs.pop(job_id)
        return job_id


class DispatchWindow:
    """Keeps at most ``limit`` tasks of each pool and lane on the topics, dealt fairly.

    Standing is set absolutely, job by job, from the job's own counters: after an aborted transaction the shell
    sets it again from the records that hold, and nothing has to be rolled back.

    Args:
        limit: most tasks of one pool and lane that this instance keeps on the topics.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: dict[str, Standing] = {}
        self._channels: dict[Channel, _Channel] = {}

    def update(self, job_id: str, standing: Standing | None) -> None:
        """Set where a job stands; None forgets it."""
        before = self._jobs.pop(job_id, None)
        if before is not None:
            for demand in before.demands:
                self._channel(demand.pool, before.lane).live -= demand.live
        if standing is not None:
            self._jobs[job_id] = standing
            for demand in standing.demands:
                self._channel(demand.pool, standing.lane).live += demand.live
        for pool, lane in _channels_of(before) | _channels_of(standing):
            channel = self._channel(pool, lane)
            if standing is not None and standing.lane == lane and _ready(standing, pool) > 0:
                channel.enlist(job_id, standing.tenant, standing.priority)
            else:
                channel.strike(job_id)

    def hold(self, job_id: str) -> None:
        """Grant a job nothing until its standing is set again; what it has out still counts."""
        if (standing := self._jobs.get(job_id)) is not None:
            demands = tuple(replace(demand, ready=0) for demand in standing.demands)
            self.update(job_id, replace(standing, demands=demands))

    def deal(self, at_most: int) -> list[Grant]:
        """Return grants of at most so many tasks in all.

        The caller steps each granted job and then calls `update` for it; until then a job is granted nothing more.
        """
        grants: list[Grant] = []
        for (pool, _), channel in self._channels.items():
            room = min(self._limit - channel.live, at_most - sum(grant.count for grant in grants))
            if room > 0 and channel.tenants:
                grants.extend(self._turns(channel, pool, room))
        return grants

    def _turns(self, channel: _Channel, pool: str, room: int) -> Iterator[Grant]:
        """One round over the tenants: each with a ready job gets one turn of at most `QUANTUM` tasks."""
        lone = len(channel.places) == 1
        for tenant in list(channel.tenants):
            if room <= 0:
                return
            channel.tenants[tenant] = channel.tenants.pop(tenant)  # the next round begins with somebody else
            job_id = channel.next_job(tenant)
            # Nobody else waits: a turn as large as the room costs nobody anything.
            left = room if lone else min(room, QUANTUM)
            for demand in self._jobs[job_id].demands:
                if demand.pool == pool and demand.ready > 0 and left > 0:
                    count = min(demand.ready, left)
                    left, room = left - count, room - count
                    yield Grant(job_id, demand.step, count)

    def out(self, job_id: str, lane: str) -> int:
        """Return the tasks of a job of that lane that are on the topics or with workers; 0 where there is none."""
        standing = self._jobs.get(job_id)
        return 0 if standing is None or standing.lane != lane else sum(demand.live for demand in standing.demands)

    def live(self, pool: str, lane: str) -> int:
        """Return the tasks of a pool and lane that are on the topics."""
        return self._channel(pool, lane).live

    def cut(self, at_most: int) -> int:
        """Return how many tasks a batch that may have so many should have: few while workers stand still."""
        return at_most if any(channel.live for channel in self._channels.values()) else min(at_most, FIRST)

    def held_back(self) -> dict[Channel, int]:
        """Return the tasks that wait in the orchestrator, by pool and lane (within the jobs' own windows)."""
        held: dict[Channel, int] = {}
        for standing in self._jobs.values():
            for demand in standing.demands:
                channel = (demand.pool, standing.lane)
                held[channel] = held.get(channel, 0) + demand.ready
        return held

    def _channel(self, pool: str, lane: str) -> _Channel:
        return self._channels.setdefault((pool, lane), _Channel())


def _channels_of(standing: Standing | None) -> dict[Channel, None]:
    return {} if standing is None else {(demand.pool, standing.lane): None for demand in standing.demands}


def _ready(standing: Standing, pool: str) -> int:
    return sum(demand.ready for demand in standing.demands if demand.pool == pool)

"""The topic catalogue: the only place where topics and consumer groups are spelled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.schemas.messages import Lane

DAY_MS = 86_400_000

COMPANIONS = ("jobs", "results", "state", "outcomes", "events")
"""Topics that share one partition count, fixed at creation: a job's home is the same partition of each."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    may_grow: bool = False
    """Whether more partitions than planned do no harm: true where no home partition rests on the count."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of topics and groups under one prefix.

    Args:
        prefix: what every name begins with, without the final dot.
    """

    prefix: str = "headrace"

    @property
    def jobs(self) -> str:
        return f"{self.prefix}.jobs"

    @property
    def results(self) -> str:
        return f"{self.prefix}.results"

    @property
    def state(self) -> str:
        return f"{self.prefix}.state"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}.outcomes"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"

    @property
    def control(self) -> str:
        return f"{self.prefix}.control"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    @property
    def companions(self) -> tuple[str, ...]:
        """The topics that share one partition count."""
        return tuple(f"{self.prefix}.{name}" for name in COMPANIONS)

    def tasks(self, pool: str, lane: Lane) -> str:
        return f"{self.prefix}.tasks.{pool}.{lane.value}"

    def task_topic(self, name: str) -> tuple[str, Lane] | None:
        """Return the pool and the lane of a task topic, or None where the name is another topic's."""
        for lane in Lane:
            start, end = self.tasks("\0", lane).split("\0")
            if name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end):
                return name[len(start) : -len(end)], lane
        return None

    def pools_in(self, names: Iterable[str]) -> list[str]:
        """Return the pools that have task topics among some topic names, sorted."""
        start, end = self.tasks("\0", Lane.BATCH).split("\0")
        return sorted(name[len(start) : -len(end)] for name in names if name.startswith(start) and name.endswith(end))

    def attempts(self, pool: str) -> str:
        return f"{self.prefix}.attempts.{pool}"

    @property
    def orchestrator_group(self) -> str:
        return f"{self.prefix}.orchestrator"

    def worker_group(self, pool: str) -> str:
        return f"{self.prefix}.workers.{pool}"

    @property
    def console_transactional_id(self) -> str:
        """Of those who resolve dead letters: one id, so that two of them at once fence each other."""
        return f"{self.prefix}.console"

    def transactional_id(self, slot: str) -> str:
        return f"{self.prefix}.orchestrator.{slot}"

    def catalogue(self, pools: list[str], *, partitions: int = 12, task_partitions: int = 12) -> list[TopicSpec]:
        """Return every topic that the given pools need.

        Args:
            pools: names of pools, in any order.
            partitions: count for ``jobs`` and its companions.
            task_partitions: count for each task topic and its journal.

        Source: the table of docs/architecture.md, section "Topics".
        """
        week, month = {"retention.ms": str(7 * DAY_MS)}, {"retention.ms": str(30 * DAY_MS)}
        specs = [
            TopicSpec(self.jobs, partitions, dict(week)),
            TopicSpec(self.results, partitions, dict(week)),
            TopicSpec(self.state, partitions, dict(STATE_CONFIG)),
            TopicSpec(self.outcomes, partitions, dict(month)),
            TopicSpec(self.events, partitions, dict(week)),
            TopicSpec(self.control, 1, {"cleanup.policy": "compact", "segment.bytes": "16777216"}),
            TopicSpec(self.dead_letters, task_partitions, dict(month), may_grow=True),
        ]
        for pool in sorted(pools):
            specs += [TopicSpec(self.tasks(pool, lane), task_partitions, dict(week), may_grow=True) for lane in Lane]
            specs.append(TopicSpec(self.attempts(pool), task_partitions, dict(month), may_grow=True))
        return specs


STATE_CONFIG = {
    # Small segments and an early cleaner: restore time follows the uncompacted log (kafka-mechanics B6).
    "cleanup.policy": "compact",
    "segment.bytes": "16777216",
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "60000",
    "delete.retention.ms": "600000",
}

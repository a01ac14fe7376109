"""Looks at the cluster while it runs: is everything finished, is everything forgotten."""

from __future__ import annotations

from typing import Any

from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.log import PartitionLog, hidden


class Watch:
    """Reads what is committed, a little at a time."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self._cluster = cluster
        self._topics = topics
        self._read: dict[PartitionLog, int] = {}
        self._state: dict[tuple[int, str], bytes] = {}
        """By partition and key: what lives on ``state``."""

    def quiet(self) -> bool:
        """Return whether nothing runs and nothing waits: all read, all answered, all closed."""
        return not self.unfinished()

    def unfinished(self) -> list[str]:
        """Return what is not finished yet."""
        self._follow()
        open_jobs = [key for _, key in self._state if not key.startswith(("marker/", "workflow/", "owner", "cursor/"))]
        found = [f"liveness: on state: {key}" for key in open_jobs[:5]]
        return found + self._lags()

    def forgotten(self) -> bool:
        """Return whether nothing but owner and cursors is left."""
        return not self.leftovers()

    def leftovers(self) -> list[str]:
        """Return what is left on ``state`` and should not be."""
        self._follow()
        kept = ("owner", "cursor/")
        left = [f"state: left after the retention: {key}" for _, key in self._state if not key.startswith(kept)][:5]
        return left + [f"control: an order stands after the retention: {subject}" for subject in self._orders()][:5]

    def _orders(self) -> list[str]:
        """Return the orders about jobs and tasks that were not lifted."""
        standing: dict[str, bool] = {}
        for log in self._cluster.topics[self._topics.control]:
            for entry in log.visible():
                standing[(entry.key() or b"").decode("utf-8", "replace")] = entry.value() is not None
        return [subject for subject, holds in standing.items() if holds and subject.startswith(("job/job-", "task/"))]

    def _follow(self) -> None:
        for log in self._cluster.topics[self._topics.state]:
            start = self._read.get(log, 0)
            for entry in log.entries[start : log.stable]:
                if entry is None or hidden(entry):
                    continue
                place = (log.partition, (entry.key() or b"").decode())
                if entry.value() is None:
                    self._state.pop(place, None)
                else:
                    self._state[place] = entry.value() or b""
            self._read[log] = log.stable

    def _lags(self) -> list[str]:
        found = []
        for group, names, exact in self._groups():
            for name in names:
                for log in self._cluster.topics[name]:
                    committed = group.offsets.get((name, log.partition))
                    at = committed.offset if committed else 0
                    rest = log.entries[at:]
                    behind = len(rest) if exact else sum(not hidden(entry) for entry in rest)
                    if behind:
                        found.append(f"liveness: {group.name} lags by {behind} on {name}[{log.partition}] at {at}")
        return found

    def _groups(self) -> list[tuple[Any, list[str], bool]]:
        topics, cluster = self._topics, self._cluster
        groups = [(cluster.group(topics.orchestrator_group), [topics.jobs, topics.results], False)]
        tasks = f"{topics.prefix}.tasks."
        for pool in topics.pools_in(cluster.topics):
            names = [name for name in cluster.topics if name.startswith(f"{tasks}{pool}.")]
            groups.append((cluster.group(topics.worker_group(pool)), names, True))
        return groups

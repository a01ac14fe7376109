"""Result first, then offset: looked at while it happens, since the logs do not say which came first."""

from __future__ import annotations

from typing import Any

from headrace.schemas.codec import header_map
from headrace.schemas.completed import progress_of
from headrace.schemas.topics import Topics
from tests.simulation.cluster import Cluster
from tests.simulation.history import as_object
from tests.simulation.log import PartitionLog, hidden


class ResultsFirst:
    """Looks at every commit of a worker: what it says is done must have been answered, or set aside, before.

    Or it was handed over: its call still runs, which the commit must say.
    """

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self.problems: list[str] = []
        self._cluster = cluster
        self._topics = topics
        self._prefix = f"{topics.prefix}.tasks."
        self._seen: dict[PartitionLog, int] = {}
        self._checked: dict[tuple[str, int], int] = {}
        self._answered: set[tuple[str, str]] = set()
        self._aside: set[tuple[str, int, int]] = set()
        cluster.on_commit.append(self.committed)

    def committed(self, group: str, offsets: dict[tuple[str, int], Any]) -> None:
        """Look at one commit."""
        for (topic, partition), commit in offsets.items():
            if topic.startswith(self._prefix):
                self._look(group, topic, partition, commit.offset, commit.metadata)

    def _look(self, group: str, topic: str, partition: int, offset: int, metadata: str) -> None:
        start = self._checked.get((topic, partition), 0)
        if offset <= start:
            return
        self._checked[topic, partition] = offset
        self._follow()
        handed_over = progress_of(offset, metadata).handed_over
        for entry in self._cluster.log(topic, partition).entries[start:offset]:
            if entry is None or hidden(entry):
                continue
            place = (topic, partition, entry.offset())
            headers = header_map(entry.headers())
            attempt = (headers.get("x-task-id", ""), headers.get("x-attempt", ""))
            if attempt in self._answered or place in self._aside:
                continue
            handed_over -= 1
            if handed_over < 0:
                self.problems.append(f"order: {group} committed {offset} past {place} {attempt}, which has no answer")

    def _follow(self) -> None:
        """Read on what workers have written."""
        for log in [*self._cluster.topics[self._topics.results], *self._cluster.topics[self._topics.dead_letters]]:
            for entry in log.entries[self._seen.get(log, 0) :]:
                if entry is not None and not entry.marker:
                    self._note(log.topic, entry)
            self._seen[log] = len(log.entries)

    def _note(self, topic: str, entry: Any) -> None:
        if topic == self._topics.results:
            headers = header_map(entry.headers())
            self._answered.add((headers.get("x-task-id", ""), headers.get("x-attempt", "")))
            return
        origin = as_object(entry).get("origin")
        if origin is not None:
            self._aside.add((origin["topic"], origin["partition"], origin["offset"]))

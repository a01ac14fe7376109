"""Asks the cluster every few seconds whether our topics can be read and written.

A process without work does not notice that Kafka is gone: no call of its own fails. And where a write fails, the
client says only that it timed out. The cluster's metadata tells both: who leads, and how many replicas are in sync.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.runtime.topic_limits import min_insync_replicas
from headrace.runtime.trouble import Trouble

EVERY_S = 2.0
ASK_S = 3.0
KINDS = ("unreachable", "no_leader", "too_few_replicas")


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition as the cluster's metadata has it."""

    topic: str
    partition: int
    has_leader: bool
    in_sync: int
    """Replicas in sync, the leader counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with the cluster."""

    kind: str
    text: str


def judge(partitions: Iterable[PartitionView], needed: Mapping[str, int]) -> Finding | None:
    """Return the worst that the metadata show. Pure.

    Args:
        needed: by topic, its ``min.insync.replicas``; 1 where it is not known.
    """
    views = list(partitions)
    if leaderless := [view for view in views if not view.has_leader]:
        return Finding("no_leader", f"no leader: {_named(leaderless)}")
    if short := [view for view in views if view.in_sync < needed.get(view.topic, 1)]:
        least = f"{short[0].in_sync} of {needed[short[0].topic]} needed replicas in sync"
        return Finding("too_few_replicas", f"{least}: {_named(short)}")
    return None


def _named(views: list[PartitionView]) -> str:
    shown = ", ".join(f"{view.topic}-{view.partition}" for view in views[:3])
    return f"{shown} and {len(views) - 3} more" if len(views) > 3 else shown


class KafkaWatch:
    """Looks in a thread of its own.

    Args:
        admin: an admin client.
        topics: the topics to look at.
    """

    def __init__(self, admin: AdminClient, topics: Iterable[str]) -> None:
        self._admin = admin
        self._topics = list(topics)
        self._needed: Mapping[str, int] = {}
        """What was learned last; asked only while replicas are missing, since an administrator may change it."""
        self._trouble = Trouble(*KINDS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a question in flight is left to its time-out."""
        self._stopped.set()
        self._thread.join(1.0)

    def problem(self) -> str | None:
        """Return what was wrong when the cluster was last asked, or None."""
        return self._trouble.text

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            found = self._look()
            if found is None:
                self._trouble.over()
            else:
                self._trouble.note(found.kind, found.text)

    def _look(self) -> Finding | None:
        views: list[PartitionView] = []
        short = False
        try:
            # One topic a request, from any broker: `describe_topics` waits for the controller that it knew last, and
            # all topics at once are megabytes on a company's cluster.
            for topic in self._topics:
                found = self._admin.list_topics(topic, timeout=ASK_S).topics[topic]
                views += [PartitionView(topic, p.id, p.leader >= 0, len(p.isrs)) for p in found.partitions.values()]
                short = short or any(len(p.isrs) < len(p.replicas) for p in found.partitions.values())
        except KafkaException as error:
            return Finding("unreachable", f"Kafka does not answer: {error.args[0].str()}")
        if short:
            self._needed = {**self._needed, **min_insync_replicas(self._admin, self._topics, timeout_s=ASK_S)}
        return judge(views, self._needed)

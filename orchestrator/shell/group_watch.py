"""What the workers' groups have committed, looked at in a thread of its own: the loop never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.orchestrator.core.flights import Place
from headrace.runtime.group_offsets import GroupReader
from headrace.runtime.kafka import metadata_of
from headrace.runtime.offsets import ends
from headrace.schemas.completed import Span, decode
from headrace.schemas.errors import DependencyUnavailable
from headrace.schemas.messages import Lane
from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")

EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """What is done on one partition of a task topic."""

    offset: int
    """Everything below it."""
    spans: tuple[Span, ...] = ()
    """And this above it."""

    def covers(self, end: int) -> bool:
        """Return whether everything below an offset is done."""
        at = self.offset
        for start, stop in self.spans:
            if start > at:
                break
            at = max(at, stop)
        return at >= end


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at all pools."""

    began_s: float
    """Before anything was asked, by the monotonic clock."""
    done: Mapping[Place, Done] = field(default_factory=dict)
    ends: Mapping[Place, int] = field(default_factory=dict)
    """Where each task topic ended when it was asked, before the commits were."""


class GroupWatch:
    """Looks every few seconds while anything is out.

    Args:
        admin: an admin client; librdkafka's are safe to share between threads.
        groups: reads the offsets of the pools' groups.
        topics: names of the topics.
        pools: names of the pools.
        wanted: whether this instance has tasks out.
    """

    def __init__(
        self, admin: AdminClient, groups: GroupReader, topics: Topics, pools: list[str], wanted: Callable[[], bool]
    ) -> None:
        self._admin = admin
        self._groups = groups
        self._topics = topics
        self._pools = pools
        self._wanted = wanted
        self.latest: Snapshot | None = None
        self._silent = False
        """Whether Kafka left the last question unanswered."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="groups", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a question in flight is left to its time-out."""
        self._stopped.set()
        self._thread.join(1.0)

    def look(self) -> None:
        """Look once. What cannot be learned now is learned the next time: waiting longer loses nothing."""
        began = time.monotonic()
        try:
            places = self._places()
            found = ends(self._admin, places, timeout_s=EVERY_S)
            self.latest = Snapshot(began, ends=found, done=self._commits(places))
        except (DependencyUnavailable, KafkaException) as error:
            if not self._silent:
                log.warning("groups.unknown", error=str(error))
            self._silent = True
        else:
            self._silent = False

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            if self._wanted():
                self.look()

    def _places(self) -> list[Place]:
        names = [self._topics.tasks(pool, lane) for pool in self._pools for lane in Lane]
        found = self._admin.list_topics(timeout=EVERY_S).topics
        return [(name, partition) for name in names if name in found for partition in found[name].partitions]

    def _commits(self, places: list[Place]) -> dict[Place, Done]:
        """Return what every pool has done, one question a pool."""
        found: dict[Place, Done] = {}
        for pool in self._pools:
            mine = {self._topics.tasks(pool, lane) for lane in Lane}
            wanted = [place for place in places if place[0] in mine]
            for place, tp in self._groups.committed(self._topics.worker_group(pool), wanted, timeout_s=EVERY_S).items():
                found[place] = Done(tp.offset, tuple(decode(tp.offset, metadata_of(tp))))
        return found

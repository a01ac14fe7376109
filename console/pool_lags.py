"""What waits for workers, by pool and lane: the stable format of ``headrace lag --json``.

Counts come from `headrace.runtime.lag`; the age of the oldest is read here, one record a partition that has lag.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from headrace.console.reader import Place, TopicReader
from headrace.runtime import lag as measured
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch
from headrace.schemas.messages import Lane

LANES = len(Lane)


@dataclass(frozen=True, slots=True)
class PoolLag:
    """One pool and lane."""

    pool: str
    lane: str
    waiting: int
    """Records that no worker has taken."""
    in_flight: int
    """Records that a worker has taken and not answered."""
    oldest_age_ms: int | None
    """Age of the oldest that is not done; None where nothing waits, or it was not asked for."""
    members: int
    """Worker processes in the pool's group."""

    def plain(self) -> dict[str, Any]:
        """Return the documented JSON."""
        return asdict(self)


def pool_names(admin: AdminClient, settings: Settings) -> list[str]:
    """Return the pools that have task topics under the prefix: the topics say it, whatever a pools file says.

    Raises:
        TopicMismatch: there are none.
    """
    try:
        topics = admin.list_topics(timeout=10.0).topics
    except KafkaException as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error.args[0].str()}", "see headrace doctor") from None
    names = settings.topic_names.pools_in(topics)
    if not names:
        raise TopicMismatch(
            f"no task topics under prefix {settings.topics.prefix!r}",
            "is the prefix right? else: headrace topics apply",
        )
    return names


def pool_lags(admin: AdminClient, settings: Settings, pools: Sequence[str], *, ages: bool = False) -> list[PoolLag]:
    """Return the lag of every pool and lane, in the order of the pools.

    Args:
        ages: also read the oldest record of each partition that has lag; it takes a connection of its own.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    found = measured.pool_lag(admin, settings.topic_names, pools)
    oldest: dict[str, int] = {}
    for pool in {one.pool for one in found if one.waiting or one.in_flight} if ages else ():
        oldest.update(_oldest(admin, settings, pool))
    return [
        PoolLag(
            pool=one.pool,
            lane=one.lane,
            waiting=one.waiting,
            in_flight=one.in_flight,
            oldest_age_ms=oldest.get(settings.topic_names.tasks(one.pool, Lane(one.lane)), one.oldest_age_ms),
            members=-(-one.members // LANES),  # A worker is one member in each lane.
        )
        for one in found
    ]


def _oldest(admin: AdminClient, settings: Settings, pool: str) -> dict[str, int]:
    """Return the age of the first record that is not done, by topic of the pool."""
    names = settings.topic_names
    committed = _committed(admin, names.worker_group(pool))
    ages: dict[str, int] = {}
    with TopicReader(settings, "lag") as reader:
        topics = [names.tasks(pool, lane) for lane in Lane]
        places = [(topic, number) for topic in topics for number in range(reader.partitions(topic))]
        waiting = {place: max(0, committed.get(place, 0)) for place in places}
        waiting = {place: offset for place, offset in waiting.items() if offset < reader.end(place)}
        reader.assign(waiting)
        seen: set[Place] = set()
        deadline = time.monotonic() + 5.0
        while seen < set(waiting) and not reader.at_end and time.monotonic() < deadline:
            for message in reader.read(0.2):
                place = (message.topic(), message.partition())
                if place not in seen:
                    seen.add(place)
                    age = max(0, int(time.time() * 1000) - message.timestamp()[1])
                    ages[place[0]] = max(age, ages.get(place[0], 0))
    return ages


def _committed(admin: AdminClient, group: str) -> dict[Place, int]:
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    try:
        partitions = future.result().topic_partitions
    except KafkaException:
        return {}
    return {(one.topic, one.partition): one.offset for one in partitions}


def lag_lines(found: Sequence[PoolLag]) -> list[str]:
    """Return the lag for people."""
    lines = [f"{'pool':<16} {'lane':<12} {'waiting':>9} {'in flight':>9} {'oldest':>9} {'members':>8}"]
    for one in found:
        age = "-" if one.oldest_age_ms is None else f"{one.oldest_age_ms / 1000:.1f} s"
        lines.append(f"{one.pool:<16} {one.lane:<12} {one.waiting:>9,} {one.in_flight:>9,} {age:>9} {one.members:>8}")
    return lines

"""What waits for workers, by pool and lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.runtime.offsets import beginnings, ends
from headrace.runtime.settings import Settings
from headrace.schemas.errors import DependencyUnavailable, TopicMismatch
from headrace.schemas.messages import Lane


@dataclass(frozen=True, slots=True)
class PoolLag:
    """One pool and lane."""

    pool: str
    lane: str
    waiting: int
    """Records above the committed offset: not done."""
    in_flight: int | None
    """Of these, done or running by the workers' own commit metadata; None where it is not known."""
    oldest_ms: int | None
    """Age of the oldest that waits; None where none does, or it is not known."""
    members: int
    """Workers in the pool's group."""

    def plain(self) -> dict[str, Any]:
        """Return the documented JSON."""
        return asdict(self)


def pool_names(admin: AdminClient, settings: Settings) -> list[str]:
    """Return the pools that have task topics under the prefix: the topics say it, whatever a pools file says.

    Raises:
        TopicMismatch: there are none.
    """
    start, end = f"{settings.topics.prefix}.tasks.", f".{Lane.BATCH.value}"
    try:
        topics = admin.list_topics(timeout=10.0).topics
    except KafkaException as error:
        raise DependencyUnavailable(f"Kafka does not answer: {error.args[0].str()}", "see headrace doctor") from None
    names = sorted(name[len(start) : -len(end)] for name in topics if name.startswith(start) and name.endswith(end))
    if not names:
        raise TopicMismatch(
            f"no task topics under prefix {settings.topics.prefix!r}", "is the prefix right? else: headrace topics apply"
        )
    return names


def pool_lags(admin: AdminClient, settings: Settings, pools: Sequence[str]) -> list[PoolLag]:
    """Return the lag of every pool and lane, in the order of the pools.

    Raises:
        DependencyUnavailable: Kafka does not answer.
    """
    names = settings.topic_names
    groups = [names.worker_group(pool) for pool in pools]
    topics = admin.list_topics(timeout=10.0).topics
    members = _members(admin, groups)
    found = []
    for pool in pools:
        committed = _committed(admin, names.worker_group(pool))
        for lane in Lane:
            topic = names.tasks(pool, lane)
            places = [(topic, partition) for partition in topics[topic].partitions] if topic in topics else []
            last, first = ends(admin, places), beginnings(admin, places)
            waiting = sum(max(0, last[place] - max(committed.get(place, 0), first[place])) for place in places)
            found.append(PoolLag(pool, lane.value, waiting, None, None, members.get(names.worker_group(pool), 0)))
    return found


def _committed(admin: AdminClient, group: str) -> dict[tuple[str, int], int]:
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    try:
        partitions: list[TopicPartition] = future.result().topic_partitions
    except KafkaException:
        return {}
    return {(one.topic, one.partition): max(0, one.offset) for one in partitions}


def _members(admin: AdminClient, groups: list[str]) -> dict[str, int]:
    members = {}
    for group, future in admin.describe_consumer_groups(groups).items():
        try:
            members[group] = len(future.result().members)
        except KafkaException:
            members[group] = 0
    return members

"""How much work waits for the workers of each pool, and how much they have in hand: by offsets and their metadata."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from headrace.runtime.group_offsets import GroupReader
from headrace.runtime.kafka import metadata_of
from headrace.runtime.offsets import Place, beginnings, ends
from headrace.schemas.completed import Progress, progress_of
from headrace.schemas.errors import DependencyUnavailable
from headrace.schemas.messages import Lane
from headrace.schemas.topics import Topics


@dataclass(frozen=True, slots=True)
class PoolLag:
    """What waits in one lane of a pool."""

    pool: str
    lane: str
    waiting: int
    """Records that no worker has taken."""
    in_flight: int
    """Records that a worker has taken and not answered, by the metadata of its last commit. Calls that were handed over
    count until their timeout, though they may have ended."""
    oldest_age_ms: int | None
    """Age of the oldest of them, where it is known."""
    members: int
    """Consumers in the pool's group, where they are counted; each worker is one in each lane."""


def pool_lag(
    admin: AdminClient,
    topics: Topics,
    pools: Iterable[str],
    *,
    timeout_s: float = 10.0,
    groups: GroupReader | None = None,
) -> list[PoolLag]:
    """Return the lag of each pool and lane, by few requests to the broker.

    A group that never committed has everything on its topics to do.

    Args:
        groups: reads the groups' offsets in a process that lives on, and members are then not counted; a command that
            ends asks by the admin client.

    Raises:
        DependencyUnavailable: Kafka does not answer, or a task topic is not there.
    """
    names = list(pools)
    lanes = {topics.tasks(pool, lane): (pool, lane.value) for pool in names for lane in Lane}
    places = _places(admin, list(lanes), timeout_s)
    last, first = ends(admin, places, timeout_s=timeout_s), beginnings(admin, places, timeout_s=timeout_s)
    waiting, in_flight = dict.fromkeys(lanes.values(), 0), dict.fromkeys(lanes.values(), 0)
    if groups is None:
        known, members = _progress(admin, topics, names, timeout_s), _members(admin, topics, names, timeout_s)
    else:
        known, members = _read_progress(groups, topics, lanes, places), {}
    now_ms = int(time.time() * 1_000)
    for place in places:
        lane, progress = lanes[place[0]], known.get(place, Progress(-1, 0))
        waiting[lane] += max(0, last[place] - max(progress.read_to, first[place]))
        in_flight[lane] += progress.running_at(now_ms)
    return [
        PoolLag(pool, lane, count, in_flight[pool, lane], None, members.get(pool, 0))
        for (pool, lane), count in waiting.items()
    ]


def _places(admin: AdminClient, names: list[str], timeout_s: float) -> list[Place]:
    try:
        found = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise DependencyUnavailable(f"topics cannot be listed: {error.args[0].str()}") from None
    missing = [name for name in names if name not in found]
    if missing:
        raise DependencyUnavailable(f"topics are missing: {', '.join(missing)}", "headrace topics apply")
    return [(name, partition) for name in names for partition in found[name].partitions]


def _progress(admin: AdminClient, topics: Topics, pools: list[str], timeout_s: float) -> dict[Place, Progress]:
    """Return how far the workers of every pool are; the client takes one group a request."""
    found: dict[Place, Progress] = {}
    asked = [
        admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(topics.worker_group(pool))], request_timeout=timeout_s
        )
        for pool in pools
    ]
    for answers in asked:
        for future in answers.values():
            try:
                partitions: list[TopicPartition] = future.result().topic_partitions
            except KafkaException as error:
                raise DependencyUnavailable(f"offsets of a pool cannot be read: {error.args[0].str()}") from None
            found.update({(tp.topic, tp.partition): progress_of(tp.offset, metadata_of(tp)) for tp in partitions})
    return found


def _read_progress(
    groups: GroupReader, topics: Topics, lanes: Mapping[str, tuple[str, str]], places: list[Place]
) -> dict[Place, Progress]:
    """Return how far the workers of every pool are, one question a pool."""
    by_pool: dict[str, list[Place]] = {}
    for place in places:
        by_pool.setdefault(lanes[place[0]][0], []).append(place)
    return {
        place: progress_of(tp.offset, metadata_of(tp))
        for pool, wanted in by_pool.items()
        for place, tp in groups.committed(topics.worker_group(pool), wanted).items()
    }


def _members(admin: AdminClient, topics: Topics, pools: list[str], timeout_s: float) -> dict[str, int]:
    """Return how many members each pool's group has; a group that nobody ever joined is not known to Kafka."""
    found: dict[str, int] = {}
    groups = {topics.worker_group(pool): pool for pool in pools}
    if not groups:
        return found
    for group, future in admin.describe_consumer_groups(list(groups), request_timeout=timeout_s).items():
        try:
            found[groups[group]] = len(future.result().members)
        except KafkaException:
            found[groups[group]] = 0
    return found

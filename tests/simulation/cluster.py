"""The broker: topics, coordinators, and what requests do when they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError

from headrace.schemas.ids import murmur2
from headrace.schemas.topics import TopicSpec
from tests.simulation.groups import Group
from tests.simulation.log import Headers, PartitionLog
from tests.simulation.network import Network
from tests.simulation.transactions import TransactionCoordinator
from tests.simulation.world import World

MAX_MESSAGE_BYTES = 1_000_000


class Cluster:
    """One cluster.

    Args:
        specs: the topics that it begins with.
    """

    def __init__(self, world: World, specs: Iterable[TopicSpec]) -> None:
        self.world = world
        self.network = Network(world)
        self.topics: dict[str, list[PartitionLog]] = {
            spec.name: [PartitionLog(world, spec.name, p) for p in range(spec.partitions)] for spec in specs
        }
        self.compacted = {spec.name for spec in specs if spec.config.get("cleanup.policy") == "compact"}
        self.transactions = TransactionCoordinator(self)
        self.groups: dict[str, Group] = {}
        self.on_commit: list[Callable[[str, dict[Any, Any]], None]] = []
        """Told of every commit of offsets that was taken, outside of transactions."""
        self._partitioner = world.draws("partitioner")

    def group(self, name: str) -> Group:
        """Return a group, made when it is first asked for."""
        if name not in self.groups:
            self.groups[name] = Group(self, name)
        return self.groups[name]

    def partition_count(self, topic: str) -> int:
        return len(self.topics[topic])

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self.topics[topic][partition]

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """Return where ``murmur2_random`` puts a record."""
        count = len(self.topics[topic])
        if not key:
            return self._partitioner.randrange(count)
        return (murmur2(key) & 0x7FFFFFFF) % count

    def append(self, log: PartitionLog, records: list[tuple[Any, ...]]) -> int:
        """Take records of a plain producer: (key, value, headers, timestamp); return the first one's offset."""
        base = len(log.entries)
        for key, value, headers, timestamp_ms in records:
            log.append(key, value, headers, timestamp_ms)
        log.moved()
        return base

    def append_in_transaction(
        self,
        log: PartitionLog,
        records: list[tuple[Any, ...]],
        transactional_id: str,
        producer_id: int,
        epoch: int,
    ) -> tuple[int, int]:
        """Take records of a transaction; return the first one's offset, or −1, and the error."""
        if self.transactions.fencing and epoch < log.epochs.get(producer_id, 0):
            return -1, int(KafkaError.INVALID_PRODUCER_EPOCH)
        log.epochs[producer_id] = epoch
        part = log.begin(producer_id, epoch, self.transactions.transaction(transactional_id))
        base = len(log.entries)
        for key, value, headers, timestamp_ms in records:
            log.append(key, value, headers, timestamp_ms, part)
        log.moved()
        return base, 0

    def write(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> int:
        """Write one record from outside the system under test; return its offset."""
        log = self.log(topic, partition)
        entry = log.append(key, value, headers)
        log.moved()
        return entry.offset()

"""The coordinator of transactions: who owns a transactional id, what is open, and when its markers are written.

As Kafka with transactions of version 1, which is what librdkafka speaks: a commit is answered before its markers are
written; taking an id over aborts what was open under it; what is open too long is aborted and its producer fenced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from tests.simulation.log import PartitionLog, Transaction

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.groups import Group

EMPTY, ONGOING, PREPARED, COMPLETE = "empty", "ongoing", "prepared", "complete"
SCAN_US = 500_000
"""``transaction.abort.timed.out.transaction.cleanup.interval.ms``, the local broker's halved."""


@dataclass(slots=True, eq=False)
class Owner:
    """A transactional id."""

    transactional_id: str
    producer_id: int
    epoch: int = -1
    state: str = EMPTY
    committed: bool = False
    """How the last transaction ended."""
    timeout_us: int = 0
    began_us: int = 0
    transaction: Transaction | None = None
    logs: dict[PartitionLog, None] = field(default_factory=dict)
    groups: dict[Group, None] = field(default_factory=dict)
    left: int = 0
    """Markers that are not written yet."""


class TransactionCoordinator:
    """All transactional ids of the cluster.

    Attributes:
        fencing: off only where a test shows that its absence is noticed.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._draws = self._world.draws("markers")
        self._owners: dict[str, Owner] = {}
        self._sequence = 0
        self.fencing = True
        self._world.at(SCAN_US, self._scan)

    def init(self, transactional_id: str, timeout_us: int) -> tuple[int, int] | int:
        """Take an id over: return producer id and epoch, or an error."""
        owner = self._owners.get(transactional_id)
        if owner is None:
            owner = self._owners[transactional_id] = Owner(transactional_id, 1_000 + len(self._owners))
        if owner.state == ONGOING:
            owner.epoch += 1
            self._prepare(owner, committed=False)
            return int(KafkaError.CONCURRENT_TRANSACTIONS)
        if owner.state == PREPARED:
            return int(KafkaError.CONCURRENT_TRANSACTIONS)
        owner.epoch += 1
        owner.state = EMPTY
        owner.timeout_us = timeout_us
        return owner.producer_id, owner.epoch

    def add(self, transactional_id: str, epoch: int, process: str, parts: list[PartitionLog | Group]) -> int:
        """Register partitions, or a group's offsets, with the open transaction; return an error or 0."""
        owner = self._owners[transactional_id]
        if self._fenced(owner, epoch):
            return int(KafkaError.INVALID_PRODUCER_EPOCH)
        if owner.state == PREPARED:
            return int(KafkaError.CONCURRENT_TRANSACTIONS)
        if owner.state != ONGOING:
            owner.state = ONGOING
            owner.began_us = self._world.now_us
            owner.transaction = Transaction(transactional_id, process)
        for part in parts:
            if isinstance(part, PartitionLog):
                owner.logs[part] = None
            else:
                owner.groups[part] = None
        return 0

    def transaction(self, transactional_id: str) -> Transaction:
        """Return what a producer writes into; one that nobody registered hangs, as in Kafka without verification."""
        owner = self._owners[transactional_id]
        if owner.transaction is None:
            owner.transaction = Transaction(transactional_id, "?")
        return owner.transaction

    def end(self, transactional_id: str, epoch: int, committed: bool) -> int:
        """Commit or abort; return an error or 0. Its markers are written soon."""
        owner = self._owners[transactional_id]
        if self._fenced(owner, epoch):
            return int(KafkaError.INVALID_PRODUCER_EPOCH)
        if owner.state == ONGOING:
            self._prepare(owner, committed)
            return 0
        if owner.state in (PREPARED, COMPLETE) and owner.committed == committed:
            return 0 if owner.state == COMPLETE else int(KafkaError.CONCURRENT_TRANSACTIONS)
        return int(KafkaError.INVALID_TXN_STATE)

    def _fenced(self, owner: Owner, epoch: int) -> bool:
        return self.fencing and owner.epoch != epoch

    def _prepare(self, owner: Owner, committed: bool) -> None:
        """Decide; from here on the ending is certain, whatever dies."""
        world, network = self._world, self._cluster.network
        owner.state, owner.committed = PREPARED, committed
        transaction = owner.transaction
        assert transaction is not None
        transaction.committed = committed
        if committed:
            self._sequence += 1
            transaction.sequence = self._sequence
        places: list[Any] = [*owner.logs, *owner.groups]
        owner.left = len(places)
        owner.logs, owner.groups, owner.transaction = {}, {}, None
        world.note(f"{owner.transactional_id} {'commits' if committed else 'aborts'} in {owner.left} places")
        for place in places:
            world.at(100 + int(self._draws.random() ** 3 * 6_000) * network.slow, self._mark, owner, place)
        if not places:
            owner.state = COMPLETE

    def _mark(self, owner: Owner, place: Any) -> None:
        place.end(owner.producer_id, owner.epoch, owner.committed)
        owner.left -= 1
        if not owner.left:
            owner.state = COMPLETE

    def _scan(self) -> None:
        """Abort what is open for too long; its producer is fenced."""
        now_us = self._world.now_us
        for owner in self._owners.values():
            if owner.state == ONGOING and now_us - owner.began_us > owner.timeout_us:
                self._world.note(f"{owner.transactional_id} timed out")
                owner.epoch += 1
                self._prepare(owner, committed=False)
        self._world.at(SCAN_US, self._scan)

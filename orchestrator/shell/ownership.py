"""Brings partitions into memory when the group assigns them, takes them over, and lets them go."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from headrace.orchestrator.shell import meters
from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.input import Input
from headrace.orchestrator.shell.lost_tasks import LostTasks
from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.restore import Restored, Restorer
from headrace.orchestrator.shell.store import PartitionStore
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.transaction import TransactionSession
from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")

CHUNK_S = 0.05


class Ownership:
    """From "assigned" over "restored" to "worked".

    Args:
        working: the partitions that are worked; others hold it too and see them come and go.
        lost: told which partitions were taken over.
        make_store: an empty store for a partition.
    """

    def __init__(
        self,
        working: dict[int, Partition],
        *,
        assignment: Assignment,
        membership: Membership,
        restorer: Restorer,
        session: TransactionSession,
        writer: Writer,
        decider: Decider,
        input: Input,
        topics: Topics,
        lost: LostTasks,
        make_store: Callable[[int], PartitionStore],
    ) -> None:
        self.working = working
        self._lost = lost
        self._warm: dict[int, Partition] = {}
        self._assignment = assignment
        self._membership = membership
        self._restorer = restorer
        self._session = session
        self._writer = writer
        self._decider = decider
        self._input = input
        self._topics = topics
        self._make_store = make_store
        self._wanted: dict[int, float] = {}
        """Partitions to be restored, with the moment they came."""
        self._reading: dict[int, float] = {}
        self._restored: dict[int, Restored] = {}
        """Restored and not taken over yet."""

    @property
    def restoring(self) -> bool:
        """Whether partitions are on their way into memory."""
        return bool(self._wanted or self._reading or self._restored)

    def unready(self) -> str | None:
        """Return why not all owned partitions are worked, or None."""
        if self._assignment.has_changed():
            return "partitions came or went a moment ago"
        if self.restoring:
            left = sorted({*self._wanted, *self._reading, *self._restored})
            return f"partitions {left} are being restored"
        if not self._session.is_open:
            return "there is no transactional producer"
        return None

    def follow(self) -> None:
        """Follow the assignment, restore a chunk, take over what is complete.

        Raises:
            DependencyUnavailable: Kafka does not answer.
            SessionError: the transaction that takes partitions over failed.
        """
        arrived, departed = self._assignment.changes()
        for p in dict.fromkeys(departed + arrived):
            self._let_go(p)
        for p in arrived:
            self._wanted[p] = time.monotonic()
        for p in self._input.misplaced():
            if p in self.working:
                self._restore_again(p)
        if not self._session.is_open:
            self._session.open()
        if self._wanted:
            self._begin()
        if self._reading:
            self._advance()
        if self._restored:
            self._take_over()

    def start_over(self) -> None:
        """After a lost session: restore every owned partition from the log."""
        self._session.close()
        if self._membership.broken:
            self._membership.rejoin()
        for p in self._assignment.owned():
            self._restore_again(p)

    def _restore_again(self, p: int) -> None:
        if p in self.working:
            self._input.hold(p, [self._topics.jobs, self._topics.results])
        self._let_go(p)
        self._wanted[p] = time.monotonic()

    def close(self) -> None:
        """Stop restoring."""
        self._restorer.close()

    def _let_go(self, p: int) -> None:
        partition = self.working.pop(p, None)
        if partition is not None:
            partition.store.rollback()
            self._warm[p] = partition
            self._decider.forget(p)
            self._lost.let_go(p)
        self._wanted.pop(p, None)
        self._reading.pop(p, None)
        self._restored.pop(p, None)
        self._restorer.forget([p])
        self._input.drop(p)

    def _begin(self) -> None:
        stores = []
        for p in self._wanted:
            if p not in self._warm:
                self._warm[p] = Partition(self._make_store(p))
            stores.append(self._warm[p].store)
        self._restorer.begin(self._membership.consumer, stores)
        self._reading.update(self._wanted)
        self._wanted.clear()

    def _advance(self) -> None:
        for restored in self._restorer.advance(CHUNK_S if not self._input.waiting() else 0.0):
            self._restored[restored.partition] = restored
            meters.restored(time.monotonic() - self._reading.pop(restored.partition))

    def _take_over(self) -> None:
        """Commit our id into the partitions, then let their records come."""
        taken = []
        for p, restored in self._restored.items():
            partition = self._warm[p]
            partition.next = dict(restored.start)
            partition.results_end = restored.results_end
            partition.damage = restored.damage
            partition.caught_up_ms = partition.last_result_ms = 0
            taken.append(partition)
        self._writer.take_over(taken)
        for partition in taken:
            p = partition.number
            self._input.start(p, partition.next)
            self.working[p] = partition
            del self._warm[p], self._restored[p]
            self._decider.stand_again(partition, partition.store.running())
            self._lost.taken_over(p)
        log.info("partitions.taken_over", partitions=[partition.number for partition in taken])

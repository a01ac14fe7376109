"""Production code broken on purpose, one promise at a time: the judges must notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from headrace.orchestrator.core import failures, outcome, results
from headrace.orchestrator.core.scripts import saga
from headrace.orchestrator.core.state import Phase, TaskStatus
from headrace.orchestrator.shell.loop import Loop
from headrace.orchestrator.shell.store import PartitionStore
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime import transaction
from headrace.runtime.transaction import TransactionSession
from headrace.schemas.ids import TaskId
from headrace.workers.shell.opening import Openings
from headrace.workers.shell.pool import WorkPool
from tests.simulation.faults import only
from tests.simulation.groups import Group
from tests.simulation.run import Verdict, run_seed
from tests.simulation.transactions import TransactionCoordinator


@contextmanager
def no_dedupe_of_results() -> Iterator[None]:
    """A result of any attempt, repeated or not, is taken for the one that is waited for."""
    original = results._settle

    def answered(turn: Any, result: Any, jitter: float) -> None:
        header = turn.header_or_none()
        task_id = TaskId.parse(result.task_id) if result.task_id.count("/") == 2 else None
        record = None if header is None or task_id is None else turn.task(task_id.step, task_id.index)
        if record is None or header is None or header.phase is not Phase.RUNNING:
            return
        assert task_id is not None
        original(turn, task_id, replace(record, status=TaskStatus.LIVE, attempt=result.attempt), result, jitter)

    with patch("headrace.orchestrator.core.machine.answered", answered):
        yield


@contextmanager
def offsets_before_results() -> Iterator[None]:
    """A worker says that a task is done before its result is sent."""
    start = WorkPool._start

    def early(self: WorkPool, delivery: Any) -> None:
        delivery.finish()
        start(self, delivery)

    with patch.object(WorkPool, "_start", early):
        yield


@contextmanager
def state_before_commit() -> Iterator[None]:
    """Memory changes before the transaction commits, and does not change back."""
    write = Writer.write

    def early(self: Writer, batch: Any) -> float:
        kept = [(p, dict(p.store.changes)) for p in self._working.values()]
        for partition, _ in kept:
            partition.store.commit()
        for partition, changes in kept:
            partition.store.put(changes)
        return write(self, batch)

    with patch.object(Writer, "write", early):
        yield


class _Nothing(dict[Any, Any]):
    """An empty mapping that an assertion takes for a full one."""

    def __bool__(self) -> bool:
        return True


@contextmanager
def no_offsets_with_timers() -> Iterator[None]:
    """A transaction that only timers caused sends no offsets, so that nothing fences a zombie."""
    offsets = Writer._offsets

    def fewer(self: Writer, batch: Any, written: Any) -> dict[Any, Any]:
        taking_over = any("owner" in partition.store.changes for partition in written)
        return offsets(self, batch, written) if taking_over else _Nothing(batch.next)

    with patch.object(Writer, "_offsets", fewer):
        yield


@contextmanager
def no_fencing() -> Iterator[None]:
    """The broker lets everybody commit, whatever their epoch, generation and member id."""
    make_group, make_coordinator = Group.__init__, TransactionCoordinator.__init__

    def group(self: Group, *args: Any, **options: Any) -> None:
        make_group(self, *args, **options)
        self.fencing = False

    def coordinator(self: TransactionCoordinator, *args: Any) -> None:
        make_coordinator(self, *args)
        self.fencing = False

    with patch.object(Group, "__init__", group), patch.object(TransactionCoordinator, "__init__", coordinator):
        yield


@contextmanager
def no_new_producer_after_a_doubtful_ending() -> Iterator[None]:
    """A connection that broke during a commit or an abort is ignored: its request may end the next transaction.

    Without the pause between transactions, in which such a request nearly always arrives.
    """
    end = TransactionSession._end

    def careless(self: TransactionSession, call: Callable[[], None]) -> None:
        end(self, call)
        self._doubtful = False

    with patch.object(TransactionSession, "_end", careless), patch.object(transaction, "_SETTLE_S", 0.0):
        yield


@contextmanager
def lost_sessions_go_on() -> Iterator[None]:
    """After a commit that ended nobody knows how, memory is kept instead of being restored from the log."""

    def go_on(self: Loop, kind: str, error: Any) -> None:
        self._postpone(kind, error)
        if not self._ownership._session.is_open:
            self._ownership._session.open()

    with patch.object(Loop, "_start_over", go_on):
        yield


@contextmanager
def stale_timers() -> Iterator[None]:
    """A rolled back batch does not set its timers again."""

    def rollback(self: PartitionStore) -> None:
        for job_id in self._touched:
            self._views.pop(job_id, None)
        self._forget_batch()

    with patch.object(PartitionStore, "rollback", rollback):
        yield


@contextmanager
def journal_unread() -> Iterator[None]:
    """A worker opens a partition without a look at its journal."""

    def nothing(*_: Any) -> Iterator[None]:
        yield from ()

    with patch.object(Openings, "_read", nothing):
        yield


@contextmanager
def doubtful_calls_are_made_again() -> Iterator[None]:
    """A tool that changes something is called again where nobody knows whether it did it."""
    with patch.object(failures, "tool_of", lambda *_: None):
        yield


@contextmanager
def sagas_end_with_their_job() -> Iterator[None]:
    """A job ends though a saga of it runs: what the saga did stays done."""
    with patch.object(outcome, "running_sagas", lambda _: []):
        yield


@contextmanager
def first_calls_stay_done() -> Iterator[None]:
    """A saga that goes backward leaves its first call alone."""
    undo = saga._undo
    with patch.object(saga, "_undo", lambda done, left, failure: undo(done[1:], left, failure)):
        yield


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to break it.

    Args:
        faults: those that show it soonest.
        known: a seed that showed it with them.
    """

    broken: Callable[[], AbstractContextManager[None]]
    faults: tuple[str, ...]
    known: int

    @property
    def name(self) -> str:
        return self.broken.__name__

    def first_seed_caught(self, within: int) -> Verdict | None:
        """Return what the judges say of the first seed in which they notice; the known one is tried first."""
        with self.broken():
            for seed in (self.known, *range(1, within + 1)):
                verdict = run_seed(seed, switches=only(*self.faults))
                if verdict.problems:
                    return verdict
        return None


VARIANTS = (
    Variant(no_dedupe_of_results, ("duplicate", "replaced"), 1),
    Variant(offsets_before_results, ("crash",), 1),
    Variant(state_before_commit, ("errors", "unknown"), 2),
    Variant(no_offsets_with_timers, ("replaced", "freeze", "provider"), 185),
    Variant(no_fencing, ("replaced", "freeze", "cut"), 1),
    Variant(no_new_producer_after_a_doubtful_ending, ("loss", "slow"), 37),
    Variant(lost_sessions_go_on, ("unknown",), 1),
    Variant(stale_timers, ("errors", "unknown", "provider"), 2),
    Variant(journal_unread, ("crash",), 1),
    Variant(doubtful_calls_are_made_again, ("provider", "crash"), 1),
    Variant(sagas_end_with_their_job, ("provider",), 5),
    Variant(first_calls_stay_done, ("provider",), 1),
)

"""The orchestrator's loop: one thread, one batch after another, each one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from headrace.orchestrator.shell import meters
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import CLOSING_LIMIT, Decider
from headrace.orchestrator.shell.gathering import Gathering
from headrace.orchestrator.shell.halving import Halving, Part
from headrace.orchestrator.shell.input import Input
from headrace.orchestrator.shell.log_clock import LogClock
from headrace.orchestrator.shell.lost_tasks import LostTasks
from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.mender import Mender
from headrace.orchestrator.shell.ownership import Ownership
from headrace.orchestrator.shell.refusals import Refusals
from headrace.orchestrator.shell.taking import Taking
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.settings import OrchestratorSettings
from headrace.runtime.transaction import WriteRefused
from headrace.runtime.trouble import Trouble
from headrace.schemas.errors import CommitFailed, DependencyUnavailable, Fenced, HeadraceError, SessionLost

log = structlog.get_logger("headrace.orchestrator")

IDLE_S = 0.2
"""Longest wait for input; a timer that is due earlier shortens it."""
WAITING_S = 0.02
"""Longest wait for input while jobs wait for the object store, or this instance for its place in the group: what the
group says comes in during a wait, and does not end it."""
MOST_HELD = 10
"""Batches of records that may come in behind what waits for the object store, before its places are paused."""
INTERACTIVE_RECORDS = 64
INTERACTIVE_MS = 10
"""Where a transaction is cut while interactive jobs wait behind batch work (kafka-mechanics A5)."""
CLOSING_JOBS = 4
HELD_EVERY_S = 1.0
"""How often the gauge of tasks held back is set."""
COLLECT_EVERY_S = 1.0
"""How often texts are looked for that no job uses."""
FENCED_LIMIT = 5
FENCED_S = 180.0
"""Fenced so often within so many seconds, another living process has this one's slot. The two take it from each other
by turns, and a turn may take ten seconds and more."""
STOP_S = 3.0
"""How long a stop waits for a Kafka that does not answer: what is open then is aborted by the successor."""


class Loop:
    """Reads, decides, writes, applies.

    1. Poll what there is, rebalances included.
    2. Follow the assignment: let go, restore, take over; now and then drop what no job uses.
    3. Set right what the restore found broken; then decide each record in log order.
    4. Fire timers where the log is caught up.
    5. Deal room to jobs that want to dispatch.
    6. Tombstone some records of finished jobs.
    7. Write it all in one transaction; nothing to write is no transaction.
    8. Apply it to memory.

    Args:
        settings: the limits.
        input: the consumer and what was read from it.
        membership: this instance's place in the group.
        ownership: brings partitions into memory and takes them over.
        taking: decides what was read.
        decider: decides everything else.
        mender: sets right what is broken in the state.
        writer: writes.
        clock: up to when timers may fire.
        lost: finds tasks that nobody will answer.
        now_ms: the time.
        beat: told each time the loop comes round.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        *,
        input: Input,
        membership: Membership,
        ownership: Ownership,
        taking: Taking,
        decider: Decider,
        mender: Mender,
        writer: Writer,
        clock: LogClock,
        lost: LostTasks,
        now_ms: Callable[[], int],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._input = input
        self._membership = membership
        self._ownership = ownership
        self._taking = taking
        self._decider = decider
        self._mender = mender
        self._writer = writer
        self._clock = clock
        self._lost = lost
        self._now_ms = now_ms
        self._beat = beat
        self._stopping = False
        self._more = False
        self._halving = Halving(settings.batch_records)
        self._refusals = Refusals(
            self._halving, decider=decider, mender=mender, writer=writer, input=input, working=ownership.working
        )
        self._gathering = Gathering(input, input.results, decider.out)
        self._fenced: list[float] = []
        self._held_records = 0
        """Records at the head of the queue that cannot be decided before the object store gives what they refer to."""
        self._most_held = MOST_HELD * settings.batch_records
        self._held_at = 0.0
        self._collected_at = 0.0
        self._not_before = 0.0
        """In trouble: when the next try is due."""
        self._trouble = Trouble("postponed", "refused", "session_lost", "fenced")

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def ready(self) -> str | None:
        """Return why this instance is not ready, or None."""
        if not self._membership.joined():
            return self._input.complaint() or "the group has not taken this instance in yet"
        return self._trouble.text or self._ownership.unready() or self._input.complaint()

    def waiting(self, seconds: float) -> None:
        """Say that the loop lives while a call of Kafka's client is repeated; end the wait where a stop is due.

        Raises:
            SessionLost: told to stop, and Kafka does not answer.
        """
        self._beat()
        if self._stopping and seconds > STOP_S:
            raise SessionLost(f"told to stop, and no answer in {seconds:.0f} s")

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            HeadraceError: this process cannot go on.
        """
        while not self._stopping:
            self._beat()
            try:
                if (left := self._not_before - time.monotonic()) > 0:
                    self._input.wait(min(left, IDLE_S), self._room())
                elif self.turn() and not self._halving.searching and not self._ownership.restoring:
                    self._trouble.over()
            except (DependencyUnavailable, CommitFailed) as error:
                self._postpone("postponed", error)
            except SessionLost as error:
                self._start_over("session_lost", error)
            except Fenced as error:
                self._note_fenced(error)
                self._start_over("fenced", error)
        self._ownership.close()

    def turn(self) -> bool:
        """Come round once; return whether nothing was refused."""
        self._input.poll(self._patience_s(), self._room())  # 1
        if not self._more:
            self._gathering.gather(self._room)
        self._ownership.follow()  # 2
        batch, limit = Batch(), self._cut()
        if time.monotonic() - self._collected_at >= COLLECT_EVERY_S:
            self._collected_at = time.monotonic()
            self._decider.collect()
        self._decide(batch, *limit)
        well = self._commit(batch) if batch.next or self._writer.changed() else True  # 7, 8
        if well:
            self._halving.went_well()
        if time.monotonic() - self._held_at >= HELD_EVERY_S:  # Counts every job, so not with each batch.
            self._held_at = time.monotonic()
            meters.held_back(self._decider.held_back())
        return well

    def _decide(self, batch: Batch, limit: int, milliseconds: int) -> None:
        may = self._halving.allows
        try:
            if not self._mend(batch, limit):  # 3
                self._more = True
                return
            if may(Part.RECORDS):  # 3
                self._taking.take(batch, limit, milliseconds / 1000)
            if may(Part.TIMERS):  # 4
                self._fire(batch, limit)
            full = self._decider.deal(batch, limit if may(Part.GRANTS) else 0)  # 5
            closing = False
            if may(Part.CLOSING):  # 6
                jobs = CLOSING_JOBS if batch.read < limit // 2 else 1
                closing = self._decider.close(batch, jobs, min(CLOSING_LIMIT, limit))
            self._held_records = self._input.release(self._most_held)
            more = self._input.waiting() > self._held_records
            self._more = full or closing or more or self._halving.searching
        except DependencyUnavailable:
            self._held_records = self._input.release(self._most_held)
            self._writer.forget(self._decider, self._input)
            raise

    def _mend(self, batch: Batch, limit: int) -> bool:
        """Set right what is broken; return whether nothing is left, so that work may be decided."""
        if not self._halving.allows(Part.MENDING):
            return not self._mender.faults()
        return not self._mender.mend(batch, limit if self._halving.searching else None)

    def _fire(self, batch: Batch, limit: int) -> None:
        partitions = self._ownership.working.values()
        self._lost.look(self._ownership.working)
        for partition in self._clock.allow(partitions, self._now_ms(), self._input.unread()):
            limit -= self._decider.fire(batch, partition, self._clock.horizon_ms(partition), limit)

    def _commit(self, batch: Batch) -> bool:
        """Write a batch and apply it; return False where Kafka refuses something in it."""
        try:
            seconds = self._writer.write(batch)  # 7
        except WriteRefused as error:
            meters.aborted()
            self._trouble.note("refused", error.message)
            self._more = True
            self._refusals.refused(batch, error)
            return False
        except (CommitFailed, DependencyUnavailable):
            meters.aborted()
            self._writer.forget(self._decider, self._input)
            raise
        except (SessionLost, Fenced):
            meters.lost()
            self._writer.forget(self._decider, self._input)
            raise
        self._writer.apply(batch)  # 8
        self._input.applied()
        meters.committed(batch, seconds, self._ownership.working.values())
        return True

    # ── What ends otherwise ──────────────────────────────────────────────────────────────────────────────────────

    def _postpone(self, kind: str, error: HeadraceError) -> None:
        """Note the trouble and try again later: nothing was lost, the batch is still in hand."""
        self._not_before = time.monotonic() + self._trouble.note(kind, error.message)
        self._more = False

    def _start_over(self, kind: str, error: HeadraceError) -> None:
        """Make the producer anew under the same id, then restore every owned partition from the log (A4)."""
        self._postpone(kind, error)
        self._ownership.start_over()

    def _note_fenced(self, error: Fenced) -> None:
        now = time.monotonic()
        self._fenced = [at for at in self._fenced if now - at < FENCED_S] + [now]
        if len(self._fenced) >= FENCED_LIMIT:
            raise Fenced(
                f"fenced {FENCED_LIMIT} times in {FENCED_S:.0f} s: {error.message}",
                "another process runs under this slot; give each its own (--slot)",
            ) from error

    # ── Sizes and waits ──────────────────────────────────────────────────────────────────────────────────────────

    def _cut(self) -> tuple[int, int]:
        """Return after how many records and milliseconds this batch is cut."""
        records, milliseconds = self._settings.batch_records, self._settings.batch_ms
        jobs = interactive = 0
        for partition in self._ownership.working.values():
            jobs += partition.store.counters.jobs
            interactive += partition.store.counters.interactive
        if interactive:
            self._gathering.expect()
        if 0 < interactive < jobs:
            records, milliseconds = min(records, INTERACTIVE_RECORDS), min(milliseconds, INTERACTIVE_MS)
        return self._halving.limit(records), milliseconds

    def _room(self) -> int:
        """Return how many records may be read: what is held does not keep the others out."""
        return max(0, self._settings.batch_records - max(0, self._input.waiting() - self._held_records))

    def _patience_s(self) -> float:
        """Return how long to wait for input: not at all while there is work, not past the next timer."""
        if self._more or self._input.waiting() > self._held_records or self._ownership.restoring:
            return 0.0
        expecting = self._decider.waiting or self._held_records or not self._membership.joined()
        now_ms, wait = self._now_ms(), WAITING_S if expecting else IDLE_S
        for partition in self._ownership.working.values():
            due = partition.store.next_due_ms()
            if due is not None:
                wait = min(wait, max(0.005, (due - now_ms) / 1000))
        return IDLE_S if self._clock.silent else wait

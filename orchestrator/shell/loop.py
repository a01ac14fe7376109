"""The orchestrator's loop: one thread, one batch after another, each one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from headrace.orchestrator.shell import meters
from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import CLOSING_LIMIT, Decider
from headrace.orchestrator.shell.input import Input, Read
from headrace.orchestrator.shell.log_clock import LogClock
from headrace.orchestrator.shell.lost_tasks import LostTasks
from headrace.orchestrator.shell.mender import Mender
from headrace.orchestrator.shell.ownership import Ownership
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.settings import OrchestratorSettings
from headrace.runtime.transaction import WriteRefused
from headrace.schemas.errors import CommitFailed, DependencyUnavailable, Fenced, HeadraceError, SessionLost

log = structlog.get_logger("headrace.orchestrator")

IDLE_S = 0.2
"""Longest wait for input; a timer that is due earlier shortens it."""
INTERACTIVE_RECORDS = 64
INTERACTIVE_MS = 10
"""Where a transaction is cut while interactive jobs wait behind batch work (kafka-mechanics A5)."""
CLOSING_JOBS = 4
HELD_EVERY_S = 1.0
"""How often the gauge of tasks held back is set."""
COLLECT_EVERY_S = 1.0
"""How often texts are looked for that no job uses."""
FENCED_LIMIT = 5
"""Fenced so often within a minute, another living process has this one's slot."""


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
        assignment: which partitions are owned.
        ownership: brings partitions into memory and takes them over.
        decider: decides.
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
        assignment: Assignment,
        ownership: Ownership,
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
        self._assignment = assignment
        self._ownership = ownership
        self._decider = decider
        self._mender = mender
        self._writer = writer
        self._clock = clock
        self._lost = lost
        self._now_ms = now_ms
        self._beat = beat
        self._stopping = False
        self._more = False
        self._limit: int | None = None
        self._refusals = 0
        self._fenced: list[float] = []
        self._held_at = 0.0
        self._collected_at = 0.0
        self.trouble: str | None = None
        """Why no work is done now, for readiness."""

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping = True

    def ready(self) -> str | None:
        """Return why this instance is not ready, or None."""
        if not self._assignment.joined:
            return "the group has not assigned any partitions yet"
        return self.trouble or self._ownership.unready()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            HeadraceError: this process cannot go on.
        """
        while not self._stopping:
            self._beat()
            try:
                self.turn()
                self.trouble = None
            except DependencyUnavailable as error:
                self._wait_out(error)
            except CommitFailed as error:
                self._wait_out(error)
            except SessionLost as error:
                self._start_over(error)
            except Fenced as error:
                self._note_fenced(error)
                self._start_over(error)
        self._ownership.close()

    def turn(self) -> None:
        """Come round once."""
        self._input.poll(self._patience_s(), self._room())  # 1
        self._ownership.follow()  # 2
        batch, limit = Batch(), self._cut()
        if time.monotonic() - self._collected_at >= COLLECT_EVERY_S:
            self._collected_at = time.monotonic()
            self._decider.collect()
        self._decide(batch, *limit)
        if batch.next or self._writer.changed():
            self._commit(batch)  # 7, 8
        if time.monotonic() - self._held_at >= HELD_EVERY_S:  # Counts every job, so not with each batch.
            self._held_at = time.monotonic()
            meters.held_back(self._decider.held_back())

    def _decide(self, batch: Batch, records: int, milliseconds: int) -> None:
        deadline = time.monotonic() + milliseconds / 1000
        try:
            if self._mender.mend(batch):  # 3
                self._more = True
                return
            while batch.read < records and (read := self._input.take()) is not None:  # 3
                self._decider.take(batch, read.source, read.at_ms)
                if time.monotonic() > deadline:
                    break
            partitions = self._ownership.working.values()
            self._lost.look(self._ownership.working)
            for partition in self._clock.allow(partitions, self._now_ms(), self._input.unread()):  # 4
                self._decider.fire(batch, partition, self._clock.horizon_ms(partition), records)
            self._more = self._decider.deal(batch, records)  # 5
            jobs = CLOSING_JOBS if batch.read < records // 2 else 1
            closing = self._decider.close(batch, jobs, min(CLOSING_LIMIT, records))  # 6
            self._more = self._more or closing or self._input.waiting() > 0
        except DependencyUnavailable:
            self._writer.forget(self._decider, self._input)
            raise

    def _commit(self, batch: Batch) -> None:
        try:
            seconds = self._writer.write(batch)  # 7
        except WriteRefused as error:
            meters.aborted()
            self._refused(batch, error)
            return
        except (CommitFailed, DependencyUnavailable):
            meters.aborted()
            self._writer.forget(self._decider, self._input)
            raise
        except (SessionLost, Fenced):
            meters.lost()
            self._writer.forget(self._decider, self._input)
            raise
        self._writer.apply(batch)  # 8
        self._refusals, self._limit = 0, None
        self._input.applied()
        meters.committed(batch, seconds, self._ownership.working.values())

    # ── What ends otherwise ──────────────────────────────────────────────────────────────────────────────────────

    def _refused(self, batch: Batch, error: WriteRefused) -> None:
        """Decide the batch again; from the second time on half of it, until the one record is found (A6)."""
        self._refusals += 1
        log.warning("batch.refused", records=batch.read, times=self._refusals, error=error.message)
        replay = self._writer.forget(self._decider, self._input)
        if self._refusals >= 2:
            if batch.read <= 1:
                self._set_aside(replay, error)
                return
            self._limit = max(1, batch.read // 2)
        else:
            self._limit = max(1, batch.read)
        self._more = True

    def _set_aside(self, replayed: int, error: WriteRefused) -> None:
        """Write the one record to the dead letters in a transaction of its own."""
        read = self._input.take() if replayed else None
        if read is None:
            # No record brought it about but a timer or a grant: nothing can be set aside, and nothing else stops.
            log.error("work.refused", error=error.message)
            raise CommitFailed(error.message)
        batch = Batch()
        self._decider.poison(batch, read.source, read.at_ms, error)
        try:
            self._write_aside(batch, read)
        except HeadraceError:
            self._writer.forget(self._decider, self._input)
            raise
        self._refusals, self._limit = 0, None
        self._input.applied()

    def _write_aside(self, batch: Batch, read: Read) -> None:
        """Write a batch that sets a record aside and ends its job; where that is refused too, the letter alone."""
        try:
            self._writer.write(batch)
        except WriteRefused as again:
            for partition in self._ownership.working.values():
                partition.store.rollback()
            batch = Batch()
            self._decider.abandon(batch, read.source, again)
            self._writer.write(batch)
        self._writer.apply(batch)

    def _wait_out(self, error: HeadraceError) -> None:
        """Note the trouble and try again soon: nothing was lost, the batch is still in hand."""
        if self.trouble != error.message:
            log.warning("batch.postponed", error=error.message)
        self.trouble = error.message
        self._more = False
        self._input.serve(0.1)

    def _start_over(self, error: HeadraceError) -> None:
        """Make the producer anew under the same id, then restore every owned partition from the log (A4)."""
        log.warning("session.lost", error=error.message)
        self.trouble = error.message
        self._more = False
        self._ownership.start_over()

    def _note_fenced(self, error: Fenced) -> None:
        now = time.monotonic()
        self._fenced = [at for at in self._fenced if now - at < 60] + [now]
        if len(self._fenced) >= FENCED_LIMIT:
            raise DependencyUnavailable(
                f"fenced {FENCED_LIMIT} times in a minute: {error.message}",
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
        if 0 < interactive < jobs:
            records, milliseconds = min(records, INTERACTIVE_RECORDS), min(milliseconds, INTERACTIVE_MS)
        return min(records, self._limit or records), milliseconds

    def _room(self) -> int:
        return max(0, self._settings.batch_records - self._input.waiting())

    def _patience_s(self) -> float:
        """Return how long to wait for input: not at all while there is work, not past the next timer."""
        if self._more or self._input.waiting() or self._ownership.restoring:
            return 0.0
        now_ms, wait = self._now_ms(), IDLE_S
        for partition in self._ownership.working.values():
            due = partition.store.next_due_ms()
            if due is not None:
                wait = min(wait, max(0.005, (due - now_ms) / 1000))
        return wait

"""What Kafka refuses to write is found, set aside, and stops nothing else (kafka-mechanics A6)."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.halving import Halving, Part, Piece
from headrace.orchestrator.shell.input import Input, Read
from headrace.orchestrator.shell.mender import Mender
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.transaction import WriteRefused
from headrace.schemas.errors import HeadraceError

log = structlog.get_logger("headrace.orchestrator")


class Refusals:
    """The loop's answer to a refused batch.

    Args:
        halving: says what the next batches may take on.
        working: the partitions that are worked.
    """

    def __init__(
        self,
        halving: Halving,
        *,
        decider: Decider,
        mender: Mender,
        writer: Writer,
        input: Input,
        working: Mapping[int, Partition],
    ) -> None:
        self._halving = halving
        self._decider = decider
        self._mender = mender
        self._writer = writer
        self._input = input
        self._working = working

    def refused(self, batch: Batch, error: WriteRefused) -> None:
        """Decide the batch again, from the second time on in portions; the one piece that is to blame is set aside.

        Raises:
            WriteRefused: nobody's work is in the batch, so the cursors alone are refused.
            HeadraceError: the transaction that sets a piece aside failed; it is found again.
        """
        log.warning("batch.refused", pieces=batch.pieces, error=error.message)
        self._writer.forget(self._decider, self._input)
        if batch.last is None:
            raise error
        if self._halving.refused(batch.pieces):
            self._set_aside(batch.last, error)
            self._halving.reset()

    def _set_aside(self, piece: Piece, error: WriteRefused) -> None:
        """Take the one piece out of the way, in a transaction of its own.

        A record goes to the dead letters, and its job ends as ``internal``; so does the job of a timer or a grant.
        What was to be mended or tombstoned is left as it is.
        """
        batch, read = Batch(), None
        match piece.part:
            case Part.RECORDS:
                read = self._input.take()
                assert read is not None, "a refused record is in hand again"
                self._decider.poison(batch, read.source, read.at_ms, error)
            case Part.MENDING:
                self._mender.leave(piece.partition, error)
            case Part.CLOSING:
                log.error("job.left_unclosed", job_id=piece.job_id, error=error.message)
                self._working[piece.partition].store.leave_unclosed(_job_of(piece))
            case Part.TIMERS | Part.GRANTS:
                self._decider.break_off(batch, piece.partition, _job_of(piece), error)
        self._decider.deal(batch, 0)
        try:
            if batch.next or self._writer.changed():
                self._write(batch, piece, read)
        except HeadraceError:
            self._writer.forget(self._decider, self._input)
            raise
        self._input.applied()

    def _write(self, batch: Batch, piece: Piece, read: Read | None) -> None:
        """Write what sets a piece aside and ends its job; where that is refused too, the letter alone."""
        try:
            self._writer.write(batch)
        except WriteRefused as again:
            for partition in self._working.values():
                partition.store.rollback()
            batch = Batch()
            if read is None:
                self._leave(piece, again)
                return
            self._decider.abandon(batch, read.source, again)
            self._writer.write(batch)
        self._writer.apply(batch)

    def _leave(self, piece: Piece, error: WriteRefused) -> None:
        """Do no more for a job of which not even the end can be written, until something of it changes."""
        job_id = _job_of(piece)
        log.error("job.stuck", partition=piece.partition, job_id=job_id, error=error.message)
        self._working[piece.partition].store.timers.leave(job_id)
        self._decider.withdraw(job_id)


def _job_of(piece: Piece) -> str:
    assert piece.job_id is not None, "a timer, a grant and closing work belong to a job"
    return piece.job_id

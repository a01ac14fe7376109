"""From records that were read to decisions: many results of a job that lie in a row are decided at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from headrace.orchestrator.core.events import TaskSucceeded
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.halving import Part
from headrace.orchestrator.shell.input import Input, Read
from headrace.orchestrator.shell.intake import Arrived, Intake, Meaning
from headrace.orchestrator.shell.machine import Machine
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.letters import Source
from headrace.schemas.errors import DependencyUnavailable
from headrace.schemas.messages import Result

ROW = 256
"""Most results that are decided at once: the time of a batch is looked at between them."""


class Taking:
    """Takes records of the input one after the other.

    Args:
        input: what was read.
        decider: decides each record that is not decided with others.
        machine: the core.
        intake: reads records.
        partitions: those that are worked, by number.
        now_ms: the time.
    """

    def __init__(
        self,
        input: Input,
        decider: Decider,
        *,
        machine: Machine,
        intake: Intake,
        partitions: Mapping[int, Partition],
        now_ms: Callable[[], int],
    ) -> None:
        self._input = input
        self._decider = decider
        self._machine = machine
        self._intake = intake
        self._partitions = partitions
        self._now_ms = now_ms
        self._left: deque[tuple[Source, Meaning]] = deque()
        """What was read for a row that it did not take: decided one by one, and not read again."""

    def take(self, batch: Batch, limit: int, seconds: float) -> None:
        """Decide records, until the batch has read so many or so long.

        One that waits for the object store holds up what follows it where it lies, and no more.
        """
        deadline = time.monotonic() + seconds
        while batch.read < limit:
            ahead = [] if self._left else self._input.ahead(min(ROW, limit - batch.read))
            if ahead and (count := self._take_row(batch, ahead)):
                self._input.took(count)
            elif (read := self._input.take()) is not None:
                try:
                    self._decider.take(batch, read.source, read.at_ms, self._known(read.source))
                except DependencyUnavailable:
                    self._input.set_back()
            else:
                return
            if time.monotonic() > deadline:
                return

    def _take_row(self, batch: Batch, reads: Sequence[Read]) -> int:
        """Decide the first of these results together; return how many. What fails here is found again alone.

        What is left of them is decided one by one: a row that ended would end again and again at the same record.
        """
        job_id, results = self._read(reads)
        count = self._answer(batch, reads, job_id, results) if len(results) > 1 else 0
        for _ in range(count):
            self._left.popleft()
        return count

    def _answer(self, batch: Batch, reads: Sequence[Read], job_id: str, results: Sequence[Result]) -> int:
        source = reads[0].source
        store = self._partitions[source.partition].store
        try:
            decision, count = self._machine.answer(store.view(job_id), results, self._now_ms())
        except Exception:
            store.drop_view(job_id)
            return 0
        if count:
            store.put(decision.changes, job_id)
            last = reads[count - 1]
            batch.next[source.topic, source.partition] = last.source.offset + 1
            batch.last_result_ms[source.partition] = last.at_ms
            batch.read += count
            batch.work(Part.RECORDS, source.partition, count=count)
        return count

    def _known(self, source: Source) -> Meaning | None:
        """Return what a record means, where it was read for a row."""
        if not self._left:
            return None
        known, meaning = self._left.popleft()
        if known is source:
            return meaning
        self._left.clear()  # Another record came in its place: it was set back, taken away, or is decided anew.
        return None

    def _read(self, reads: Sequence[Read]) -> tuple[str, list[Result]]:
        """Return the results of the first one's job that succeeded, up to the first record that is something else."""
        job_id, results = "", list[Result]()
        for read in reads:
            try:
                meaning = self._intake.result(read.source)
            except Exception:
                break
            self._left.append((read.source, meaning))
            if not isinstance(meaning, Arrived) or not isinstance(meaning.event, TaskSucceeded):
                break
            if job_id != meaning.job_id and results:
                break
            job_id = meaning.job_id
            results.append(meaning.event.result)
        return job_id, results

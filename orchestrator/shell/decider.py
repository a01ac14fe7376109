"""Steps jobs through what a batch brings: records, timers, grants, closing work. No Kafka call is made here."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from headrace.orchestrator.core.events import (
    ClosingResumed,
    DispatchGranted,
    Event,
    JobBroke,
    JobRefused,
    JobSubmitted,
    TaskLost,
    TimerFired,
)
from headrace.orchestrator.core.flights import Flight
from headrace.orchestrator.core.state import Decision, TaskRecord
from headrace.orchestrator.core.window import Channel as WindowChannel
from headrace.orchestrator.core.window import DispatchWindow, Grant
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.encoder import Encoder
from headrace.orchestrator.shell.halving import Part
from headrace.orchestrator.shell.intake import Arrived, Aside, Forward, Intake, Meaning, Mismatch
from headrace.orchestrator.shell.letter_writer import LetterWriter
from headrace.orchestrator.shell.lost_tasks import Channel
from headrace.orchestrator.shell.machine import Machine
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.letters import Source, chain
from headrace.schemas.codec import Record
from headrace.schemas.errors import DependencyUnavailable, ErrorKind
from headrace.schemas.messages import Lane
from headrace.schemas.topics import Topics

log = structlog.get_logger("headrace.orchestrator")

_SUBMISSIONS = (JobSubmitted, JobRefused)
CLOSING_LIMIT = 256
AGAIN_MS = 100
"""When a timer fires again whose task is made of what the object store has not given yet."""
COLLECT_LIMIT = 64
DECIDE_S = 1.0
"""After this long the rest of due timers, or of what is granted, waits for the next batch: templates take time, and a
hostile workflow takes as much as it gets."""


class Decider:
    """Decides; what it decides lies in the batch and in the stores' overlays until the loop commits.

    Args:
        machine: the core.
        intake: reads records.
        encoder: makes records of effects.
        window: who may dispatch next.
        partitions: those that are worked, by number; kept by the loop.
        topics: names of the topics.
        by: the name of this process, for dead letters.
        max_markers: most finished jobs that a partition remembers (kafka-mechanics B6).
        jitter: draws from [0, 1).
    """

    def __init__(
        self,
        machine: Machine,
        *,
        intake: Intake,
        encoder: Encoder,
        window: DispatchWindow,
        partitions: Mapping[int, Partition],
        topics: Topics,
        by: str,
        max_markers: int,
        now_ms: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self._machine = machine
        self._intake = intake
        self._encoder = encoder
        self._window = window
        self._partitions = partitions
        self._topics = topics
        self._letters = LetterWriter(encoder, by, now_ms)
        self._max_markers = max_markers
        self._now_ms = now_ms
        self._jitter = jitter
        self._home: dict[str, int] = {}
        """The partition of every job that has a standing with the window."""
        self.waiting: dict[str, int] = {}
        """Jobs that may dispatch once the object store gave what they need, with their partitions."""

    # ── What a batch brings ──────────────────────────────────────────────────────────────────────────────────────

    def take(self, batch: Batch, source: Source, at_ms: int, known: Meaning | None = None) -> None:
        """Decide about one record of ``jobs`` or ``results``; `known` is what it means, where it was read before.

        Raises:
            DependencyUnavailable: it cannot be decided now. Nothing of it is in the batch: decide it again later.
        """
        partition = self._partitions[source.partition]
        on_results = source.topic == self._topics.results
        try:
            meaning = known or (self._intake.result(source) if on_results else self._intake.job(source, at_ms))
        except Exception as error:
            self._broke(batch, partition, source, error)
        else:
            self._mean(batch, partition, source, meaning)
        batch.next[source.topic, source.partition] = source.offset + 1
        batch.read += 1
        batch.work(Part.RECORDS, source.partition)
        if on_results:
            batch.last_result_ms[source.partition] = at_ms

    def out(self, job_id: str, lane: Lane) -> int:
        """Return the tasks of a job of that lane that are out; 0 where there is none."""
        return self._window.out(job_id, lane)

    def _mean(self, batch: Batch, partition: Partition, source: Source, meaning: Meaning) -> None:
        match meaning:
            case Arrived(job_id, event):
                if isinstance(event, _SUBMISSIONS) and self._full(partition, job_id):
                    text = f"partition {partition.number} remembers {self._max_markers} finished jobs, the most it may"
                    self._letters.set_aside(batch, source, "too_many_jobs", text, job_id=job_id)
                else:
                    self._step(batch, partition, job_id, event, source)
            case Mismatch(job_id, refused, message):
                if partition.store.knows(job_id):
                    self._letters.set_aside(batch, source, "job_id_mismatch", message, job_id=job_id)
                else:
                    self._step(batch, partition, job_id, refused, source)
            case Forward(record):
                self._forward(batch, partition, source, record)
            case Aside(reason, message, job_id):
                self._letters.set_aside(batch, source, reason, message, job_id=job_id)

    def fire(self, batch: Batch, partition: Partition, horizon_ms: int, at_most: int) -> int:
        """Fire due timers of a partition; return how many. One that waits for the object store comes again soon.

        Args:
            horizon_ms: the time up to which its log is read (kafka-mechanics B5).
            at_most: bound for this batch.
        """
        until, late = min(self._now_ms(), horizon_ms), time.monotonic() + DECIDE_S
        fired = 0
        timers, flights = partition.store.timers, partition.store.flights
        while fired < at_most and (key := timers.take(until)) is not None:
            job_id = key.split("/")[1]
            batch.work(Part.TIMERS, partition.number, job_id)
            try:
                self._step(batch, partition, job_id, TimerFired(key), None)
            except DependencyUnavailable:
                timers.later(self._now_ms() + AGAIN_MS)
            fired += 1
            if time.monotonic() > late:
                return fired
        while fired < at_most and (flight := flights.take(until)) is not None:
            try:
                self._lose(batch, partition, flight)
            except DependencyUnavailable:
                flights.later(self._now_ms() + AGAIN_MS)
            fired += 1
        return fired

    def _lose(self, batch: Batch, partition: Partition, flight: Flight) -> None:
        """Give up an attempt whose offset is done, unless its result came after all."""
        if partition.store.is_out(flight.key, flight.attempt):
            task_id = flight.key.removeprefix("task/")
            message = "its offset is done, or its time to be begun is over, and no result came"
            event = TaskLost(task_id, flight.attempt, message, self._jitter())
            batch.work(Part.TIMERS, partition.number, task_id.split("/")[0])
            self._step(batch, partition, task_id.split("/")[0], event, None)

    def deal(self, batch: Batch, at_most: int) -> bool:
        """Grant room and dispatch, until nothing is granted or the batch is full; return whether it is full.

        With no room for anything it only sets where the jobs of this batch stand now.
        """
        self._stand_touched()
        late = time.monotonic() + DECIDE_S
        for job_id, number in list(self.waiting.items()):
            self._stand(self._partitions[number], job_id)
        at_most = self._window.cut(at_most)
        while batch.dispatched < at_most:
            before = batch.dispatched, len(self.waiting)
            for grant in self._window.deal(at_most - batch.dispatched):
                self._grant(batch, grant)
                if time.monotonic() > late:
                    return True
            if (batch.dispatched, len(self.waiting)) == before:
                return False
        return True

    def _grant(self, batch: Batch, grant: Grant) -> None:
        home = self._home.get(grant.job_id)
        if home is None:
            return  # The grant before this one, for another step of the job, ended it.
        partition = self._partitions[home]
        batch.work(Part.GRANTS, partition.number, grant.job_id)
        try:
            self._step(batch, partition, grant.job_id, DispatchGranted(grant.step, grant.count), None)
        except DependencyUnavailable:
            self._wait(partition, grant.job_id)
        else:
            self._stand(partition, grant.job_id)

    def _wait(self, partition: Partition, job_id: str) -> None:
        """What the job's next tasks are made of is not read yet: the others go on meanwhile."""
        self.waiting[job_id] = partition.number
        self._window.hold(job_id)

    def collect(self) -> None:
        """Tombstone workflow texts that no job uses any more.

        Before the batch's records are decided: a job accepted after this finds the text gone and writes it anew.
        """
        for partition in self._partitions.values():
            gone = partition.store.workflows.unused(self._now_ms(), COLLECT_LIMIT)
            partition.store.put(dict.fromkeys(gone))

    def close(self, batch: Batch, jobs: int, limit: int = CLOSING_LIMIT) -> bool:
        """Tombstone some records of some finished jobs; return whether there were any."""
        found = False
        for partition in self._partitions.values():
            for job_id in partition.store.closing(jobs):
                batch.work(Part.CLOSING, partition.number, job_id)
                self._step(batch, partition, job_id, ClosingResumed(limit), None)
                found, jobs = True, jobs - 1
            if jobs <= 0:
                break
        return found

    def tell(self, batch: Batch, partition: Partition, job_id: str, event: Event) -> None:
        """Let the core decide about something that no record of the input and no timer brought about."""
        self._step(batch, partition, job_id, event, None)

    def channel_of(self, partition: Partition, key: str, record: TaskRecord) -> Channel | None:
        """Return where a live task went; None where its job cannot be read any more, and of a nested job."""
        job_id, step, index = key.removeprefix("task/").split("/")
        try:
            found = self._machine.channel_of(partition.store.view(job_id), step, int(index), record)
        except Exception:
            log.exception("channel.unknown", key=key)
            return None
        return None if found is None else Channel(self._topics.tasks(found[0], Lane(found[1])), found[2])

    # ── Standing with the window ─────────────────────────────────────────────────────────────────────────────────

    def _stand_touched(self) -> None:
        """Set the standing of every job that this batch touched."""
        for partition in self._partitions.values():
            for job_id in partition.store.touched:
                self._stand(partition, job_id)

    def stand_again(self, partition: Partition, jobs: list[str]) -> None:
        """Set the standing of jobs anew: after a rollback, or when a partition came."""
        for job_id in jobs:
            self._stand(partition, job_id)

    def held_back(self) -> dict[WindowChannel, int]:
        """Return the tasks that wait here for room, by pool and lane."""
        return self._window.held_back()

    def forget(self, number: int) -> None:
        """Take a partition's jobs out of the window."""
        for job_id in [job_id for job_id, home in self._home.items() if home == number]:
            del self._home[job_id]
            self._window.update(job_id, None)
        self.waiting = {job_id: home for job_id, home in self.waiting.items() if home != number}

    def _stand(self, partition: Partition, job_id: str) -> None:
        self.waiting.pop(job_id, None)
        try:
            standing = self._machine.standing(partition.store.view(job_id))
        except DependencyUnavailable:
            self._wait(partition, job_id)
            return
        except Exception:
            log.exception("standing.failed", job_id=job_id)
            standing = None
        if standing is None:
            self._home.pop(job_id, None)
        else:
            self._home[job_id] = partition.number
        self._window.update(job_id, standing)

    # ── One event ────────────────────────────────────────────────────────────────────────────────────────────────

    def _step(
        self,
        batch: Batch,
        partition: Partition,
        job_id: str,
        event: Event,
        source: Source | None,
        *,
        last: bool = False,
    ) -> None:
        """Decide one event; where that fails, the record and its job are set aside and the partition goes on."""
        now_ms = self._now_ms()
        try:
            decision = self._machine.step(partition.store.view(job_id), event, now_ms)
            records = self._records(decision, partition, source, job_id, now_ms)
        except DependencyUnavailable:
            raise
        except Exception as error:
            partition.store.drop_view(job_id)
            if last:
                log.error("job.stuck", job_id=job_id, error=repr(error))
                return
            self._broke(batch, partition, source, error, job_id=job_id, event=event)
            return
        partition.store.put(decision.changes, job_id)
        if decision.effects:
            batch.records += records
            batch.count(event, decision.effects)

    def _records(
        self, decision: Decision, partition: Partition, source: Source | None, job_id: str, now_ms: int
    ) -> list[Record]:
        """Return what is to be written beside the state; a decision that cannot be written is found here."""
        self._encoder.check(decision.changes)
        if not decision.effects:
            return []
        letter = partial(self._letters.of_effect, source, job_id=job_id, now_ms=now_ms)
        return self._encoder.encode(decision.effects, partition.number, letter)

    def _broke(
        self,
        batch: Batch,
        partition: Partition,
        source: Source | None,
        error: Exception,
        *,
        job_id: str | None = None,
        event: Event | None = None,
    ) -> None:
        """Set the record aside with its cause, and end its job as ``internal`` (kafka-mechanics A6)."""
        message = f"{type(error).__name__}: {error}"[:1_000]
        log.error("event.broke", job_id=job_id, cause=message, at=traceback.format_tb(error.__traceback__)[-3:])
        if source is not None:
            self._letters.set_aside(batch, source, "internal", message, job_id=job_id, errors=chain(error))
        if job_id is None:
            return
        failed: Event = JobBroke(f"internal error: {message}")
        if isinstance(event, JobSubmitted) and not partition.store.knows(job_id):
            failed = JobRefused(
                ErrorKind.INTERNAL, f"internal error: {message}", event.content_hash, event.submitted_at_ms
            )
        self._step(batch, partition, job_id, failed, source, last=True)

    def poison(self, batch: Batch, source: Source, at_ms: int, error: Exception) -> None:
        """Set aside the one record of a batch that cannot be written, and end its job as ``internal``."""
        partition = self._partitions[source.partition]
        batch.next[source.topic, source.partition] = source.offset + 1
        batch.read += 1
        job_id, event = None, None
        try:
            on_results = source.topic == self._topics.results
            meaning = self._intake.result(source) if on_results else self._intake.job(source, at_ms)
        except Exception:
            meaning = Aside("internal", "")
        if isinstance(meaning, Arrived):
            job_id, event = meaning.job_id, meaning.event
        self._broke(batch, partition, source, error, job_id=job_id, event=event)

    def break_off(self, batch: Batch, number: int, job_id: str, error: Exception) -> None:
        """End a job as ``internal``: a timer or a grant of it cannot be written."""
        self._broke(batch, self._partitions[number], None, error, job_id=job_id)

    def abandon(self, batch: Batch, source: Source, error: Exception) -> None:
        """Set aside a record where not even the end of its job can be written; the partition goes on all the same."""
        batch.next[source.topic, source.partition] = source.offset + 1
        batch.read += 1
        log.error("job.stuck", topic=source.topic, partition=source.partition, offset=source.offset, error=repr(error))
        self._letters.set_aside(
            batch, source, "internal", f"{type(error).__name__}: {error}", job_id=None, errors=chain(error)
        )

    def withdraw(self, job_id: str) -> None:
        """Grant a job no more room until it changes."""
        self._home.pop(job_id, None)
        self._window.update(job_id, None)

    # ── Records of this shell ────────────────────────────────────────────────────────────────────────────────────

    def _forward(self, batch: Batch, partition: Partition, source: Source, record: Any) -> None:
        try:
            batch.records.append(self._encoder.forward(record))
            batch.counts["forwarded",] += 1
        except Exception as error:
            self._broke(batch, partition, source, error)

    def _full(self, partition: Partition, job_id: str) -> bool:
        return partition.store.counters.markers >= self._max_markers and not partition.store.knows(job_id)

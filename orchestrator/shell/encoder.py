"""Effects and changed state records to the records of one transaction, each checked before the transaction begins.

A record that cannot be written must be found before `begin_transaction`, while it is known whose it is
(kafka-mechanics A6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, assert_never

from headrace.orchestrator.core.effects import (
    AnswerParent,
    DispatchTask,
    Effect,
    EmitEvent,
    EmitOutcome,
    Ignore,
    PublishControl,
    SetAside,
    SetTaskAside,
    StoreObject,
    SubmitNested,
)
from headrace.orchestrator.core.flights import Flight
from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import Marker, StateRecord
from headrace.orchestrator.shell.large_calls import Objects, by_reference
from headrace.runtime.letters import MAX_LETTER_BYTES, letter_record, task_headers
from headrace.schemas.codec import JOB_HEADER, REPEAT_HEADER, Record, cloud_event_headers, encode, schema_headers
from headrace.schemas.errors import ContractError
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import Control, DeadLetter, Lane, Outcome, Result, Submission, Task
from headrace.schemas.messages import Event as EventMessage
from headrace.schemas.topics import Topics

DEFAULT_MAX_BYTES = 1_000_000
"""librdkafka's own ``message.max.bytes``, below the broker's default of 1,048,588 for a whole batch."""
RECORD_OVERHEAD_BYTES = 256
"""Batch header, record header and varints, generously."""
MARKER_BYTES = 1_024
"""What a marker's record has beside its outcome, generously."""


class Unwritable(ContractError):
    """An effect that no topic would take."""


Aside = Callable[[SetAside | SetTaskAside, Record | None], DeadLetter | None]
"""Makes the dead letter of the record in hand, or of a task with its record; None where there is no such record."""


class Encoder:
    """Turns decisions into records.

    Args:
        topics: names of the topics.
        pools: the pools there are; a task for another has no topic.
        max_bytes: by topic, its ``max.message.bytes``.
        inline_bytes: a task above this travels as a claim check.
        objects: the object store, or None.
        partitions: count of ``jobs`` and its companions: nested jobs and their parents live on any of them.
        set_aside: makes the dead letter for a `SetAside` of the record in hand, or None where a timer caused it.
    """

    def __init__(
        self,
        topics: Topics,
        pools: Iterable[str],
        *,
        max_bytes: Mapping[str, int],
        inline_bytes: int,
        objects: Objects | None,
        partitions: int = 1,
    ) -> None:
        self._partitions = partitions
        self._topics = topics
        self._task_topics = {
            (pool, lane.value): topics.tasks(pool, lane).encode().decode() for pool in pools for lane in Lane
        }
        self._limits = {topic: min(size, DEFAULT_MAX_BYTES) for topic, size in max_bytes.items()}
        self._inline_bytes = inline_bytes
        self._objects = objects
        self._source = f"/headrace/{topics.prefix}"

    def encode(self, effects: Iterable[Effect], home: int, aside: Aside) -> list[Record]:
        """Return the records of one event's effects; objects are stored on the way.

        Args:
            effects: as decided.
            home: the job's home partition.
            aside: makes the dead letter of the record in hand; None where there is no such record.

        Raises:
            Unwritable: one of them is too large for its topic, or its topic is not in the catalogue.
            DependencyUnavailable: the object store does not answer.
        """
        records: list[Record] = []
        for effect in effects:
            match effect:
                case DispatchTask():
                    records.append(self._task(effect, _flight(effect.task, home)))
                case EmitOutcome():
                    records.append(self._outcome(effect, home))
                case SubmitNested():
                    records.append(self._nested(effect))
                case AnswerParent():
                    records.append(self._answer(effect))
                case EmitEvent():
                    records.append(self._event(effect, home))
                case PublishControl():
                    records.append(self._control(effect))
                case StoreObject():
                    self._store(effect)
                case SetAside():
                    if (letter := aside(effect, None)) is not None:
                        records.append(self.dead_letter(letter))
                case SetTaskAside():
                    task = self._task(DispatchTask(effect.task, effect.task.task_id))
                    if (letter := aside(effect, task)) is not None:
                        records.append(self.dead_letter(letter))
                case Ignore():
                    pass
                case _:
                    assert_never(effect)
        return records

    def _task(self, effect: DispatchTask, ref: Any = None) -> Record:
        task = effect.task
        topic = self._task_topics.get((task.pool, task.lane.value))
        if topic is None:
            raise Unwritable(f"pool {task.pool!r} has no task topic", "add it to the pools file", kind="unknown_pool")
        value = encode(task) if effect.form is None else effect.form.encode(task)
        if len(value) > self._inline_bytes and self._objects is not None:
            value = encode(by_reference(task, self._objects))
        headers = task_headers(task)
        headers.extend(effect.trace)
        return self._checked(Record(topic, effect.key.encode(), value, None, headers, ref))

    def _outcome(self, effect: EmitOutcome, home: int) -> Record:
        headers = cloud_event_headers(
            ce_id=effect.ce_id,
            ce_type=f"headrace.outcome.{effect.status}",
            source=self._source,
            at_ms=effect.at_ms,
        )
        headers += [*schema_headers(Outcome), (JOB_HEADER, effect.job_id.encode()), *effect.trace]
        if effect.repeat:
            headers.append((REPEAT_HEADER, b"true"))
        return self._checked(Record(self._topics.outcomes, effect.job_id.encode(), effect.value, home, headers))

    def _nested(self, effect: SubmitNested) -> Record:
        home = home_partition(effect.job_id, self._partitions)
        value, headers = encode(effect.submission), [*schema_headers(Submission), *effect.trace]
        return self._checked(Record(self._topics.jobs, effect.job_id.encode(), value, home, headers))

    def _answer(self, effect: AnswerParent) -> Record:
        result, home = effect.result, home_partition(effect.parent_id, self._partitions)
        headers = [*schema_headers(Result), (JOB_HEADER, result.job_id.encode()), *effect.trace]
        return self._checked(Record(self._topics.results, result.task_id.encode(), encode(result), home, headers))

    def _event(self, effect: EmitEvent, home: int) -> Record:
        event = effect.event
        headers = cloud_event_headers(
            ce_id=effect.ce_id, ce_type=f"headrace.{event.type}", source=self._source, at_ms=event.at_ms
        )
        headers += [*schema_headers(EventMessage), (JOB_HEADER, event.job_id.encode())]
        return self._checked(Record(self._topics.events, event.job_id.encode(), encode(event), home, headers))

    def _control(self, effect: PublishControl) -> Record:
        value = None if effect.control is None else encode(effect.control)
        return Record(self._topics.control, effect.subject.encode(), value, 0, schema_headers(Control))

    def _store(self, effect: StoreObject) -> None:
        if self._objects is None:
            raise Unwritable(
                f"a payload of {len(effect.data)} bytes needs an object store",
                "install the extra `objects`",
                kind="too_large",
            )
        self._objects.put(effect.data)

    @property
    def letter_bytes(self) -> int:
        """What a dead letter may have, key and headers included."""
        return min(MAX_LETTER_BYTES, self._limit(self._topics.dead_letters) - RECORD_OVERHEAD_BYTES)

    def dead_letter(self, letter: DeadLetter) -> Record:
        """Return a dead letter under the original key."""
        return letter_record(letter, self._topics.dead_letters)

    def forward(self, record: Record) -> Record:
        """Check a submission on its way home."""
        return self._checked(record)

    def state(self, partition: int, changes: Mapping[str, StateRecord | None]) -> list[Record]:
        """Return one record for each changed key of a partition: the last version only (kafka-mechanics B6).

        Raises:
            Unwritable: a record is too large for the topic.
        """
        topic, limit = self._topics.state, self._limit(self._topics.state)
        records = []
        before, value = None, None  # Tasks of one grant share their record.
        for key, record in changes.items():
            if record is not before or record is None:
                before, value = record, None if record is None else encode_record(record)
            if value is not None and len(value) + RECORD_OVERHEAD_BYTES > limit:
                raise Unwritable(f"state record {key} has {len(value)} bytes, {topic} takes {limit}", kind="too_large")
            # Keys that are not UTF-8 stand on the topic only where somebody else wrote them; they are tombstoned.
            records.append(Record(topic, key.encode("utf-8", "surrogateescape"), value, partition))
        return records

    def check(self, changes: Mapping[str, StateRecord | None]) -> None:
        """Check what can grow above the topic's limit before the batch is written, while it is known whose it is.

        A marker holds an outcome as a text within JSON, so it may be twice as large as what the inline limit let pass;
        the other records are bounded by what is accepted.

        Raises:
            Unwritable: a marker is too large.
        """
        for key, record in changes.items():
            # A character has at most four bytes, or two where it is escaped: nearly all are known to fit.
            if isinstance(record, Marker) and len(record.outcome) * 4 + MARKER_BYTES > self._limit(self._topics.state):
                self.state(0, {key: record})

    def _limit(self, topic: str) -> int:
        return self._limits.get(topic, DEFAULT_MAX_BYTES)

    def _checked(self, record: Record) -> Record:
        limit = self._limit(record.topic)
        size = len(record.value or b"") + len(record.key or b"") + RECORD_OVERHEAD_BYTES
        if size + 2_048 > limit:  # headers are small, and counted only where they could matter
            size += sum(len(name) + len(value) + 8 for name, value in record.headers)
            if size > limit:
                raise Unwritable(f"a record of {size} bytes for {record.topic}, which takes {limit}", kind="too_large")
        return record


def _flight(task: Task, home: int) -> tuple[int, Flight]:
    """Return what is kept of a task that goes out, with its home: see `core.flights`."""
    return home, Flight(f"task/{task.task_id}", task.attempt, task.timeout_ms)

"""What happened, as the logs tell it: committed transactions in their order, jobs, results, outcomes, letters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from headrace.orchestrator.core.record_codec import decode_record
from headrace.orchestrator.core.state import StateRecord
from headrace.schemas.codec import header_map
from headrace.schemas.topics import Topics
from tests.simulation.chaos import Chaos
from tests.simulation.cluster import Cluster
from tests.simulation.log import Entry
from tests.simulation.provider import Call
from tests.simulation.services import ServiceCall

Attempt = tuple[str, int]
"""A task and the number of its attempt."""


@dataclass(slots=True)
class Committed:
    """One committed transaction of an orchestrator."""

    sequence: int
    process: str
    state: list[tuple[int, str, StateRecord | None]] = field(default_factory=list)
    """Partition, key, record; None deletes it. In the order in which they were written."""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[Entry] = field(default_factory=list)
    nested: list[Attempt] = field(default_factory=list)
    """Tasks that went out as jobs of their own."""


class History:
    """The logs of a run that is over.

    Args:
        calls: the provider's memory.
        served: the services' memory.
        chaos: what was done to the world that the logs alone do not tell: garbage, kills.
        objects: what lies in the object store, by key.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Topics,
        *,
        calls: list[Call],
        served: list[ServiceCall],
        chaos: Chaos,
        objects: dict[str, bytes],
    ) -> None:
        self.cluster = cluster
        self.topics = topics
        self.calls = calls
        self.served = served
        self.chaos = chaos
        self.objects = objects

    def digest(self) -> int:
        """Return a number that two runs share only if every byte of every log is the same."""
        digest = sha256()
        for name, logs in self.cluster.topics.items():
            for log in logs:
                for entry in log.entries:
                    if entry is not None:
                        what = (name, log.partition, entry.offset(), entry.at_us, entry.key(), entry.value())
                        digest.update(repr(what).encode())
        return int.from_bytes(digest.digest()[:8], "big")

    def visible(self, topic: str) -> list[Entry]:
        """Return all committed records of a topic, partition by partition."""
        return [entry for log in self.cluster.topics[topic] for entry in log.visible()]

    def task_topics(self) -> list[str]:
        """Return the names of all task topics."""
        return [name for name in self.cluster.topics if name.startswith(f"{self.topics.prefix}.tasks.")]

    @cached_property
    def committed(self) -> list[Committed]:
        """All committed transactions, in the order of their commits."""
        found: dict[int, Committed] = {}

        def of(entry: Entry) -> Committed | None:
            if entry.part is None:
                return None
            transaction = entry.part.transaction
            known = found.get(transaction.sequence)
            if known is None:
                known = found[transaction.sequence] = Committed(transaction.sequence, transaction.process)
            return known

        for entry in self.visible(self.topics.state):
            if (transaction := of(entry)) is not None:
                key, value = (entry.key() or b"").decode(), entry.value()
                record = None if value is None else decode_record(key, value)
                transaction.state.append((entry.partition(), key, record))
        for name in self.task_topics():
            for entry in self.visible(name):
                if (transaction := of(entry)) is not None:
                    transaction.tasks.append(json.loads(entry.value() or b""))
        for entry in self.visible(self.topics.jobs):
            parent = as_object(entry).get("parent")
            if isinstance(parent, dict) and (transaction := of(entry)) is not None:
                transaction.nested.append((parent["task_id"], parent["attempt"]))
        for entry in self.visible(self.topics.outcomes):
            if (transaction := of(entry)) is not None:
                transaction.outcomes.append(entry)
        return [found[sequence] for sequence in sorted(found)]

    @cached_property
    def dispatched(self) -> dict[Attempt, dict[str, Any]]:
        """Every attempt that was asked for, and its task."""
        return {(task["task_id"], task["attempt"]): task for each in self.committed for task in each.tasks}

    @cached_property
    def places(self) -> dict[Attempt, tuple[str, int]]:
        """By attempt: the topic and partition that its task lies in."""
        return {
            (task["task_id"], task["attempt"]): (name, entry.partition())
            for name in self.task_topics()
            for entry in self.visible(name)
            if entry.part is not None and (task := as_object(entry))
        }

    def opened_us(self, worker: str, attempt: Attempt, before_us: int) -> int | None:
        """Return when a worker last asked where the journal of a task's partition ends; None where it never did."""
        told = self.cluster.log(*self.places[attempt]).ends_told
        return max((at_us for name, at_us in told if name == worker and at_us <= before_us), default=None)

    def outdated(self, worker: str, attempt: Attempt, at_us: int) -> bool:
        """Return whether a group had dropped a worker for its silence, and the worker took a task for its own still."""
        topic, _ = self.places[attempt]
        return any(
            silence.covers(worker, topic, at_us)
            for group in self.cluster.groups.values()
            for silence in group.silences.values()
        )

    @cached_property
    def results(self) -> dict[Attempt, list[tuple[int, dict[str, Any]]]]:
        """All results of each attempt with their offsets, in the order of the log."""
        found: dict[Attempt, list[tuple[int, dict[str, Any]]]] = {}
        for entry in self.visible(self.topics.results):
            result = as_object(entry)
            if isinstance(result.get("task_id"), str) and isinstance(result.get("attempt"), int):
                found.setdefault((result["task_id"], result["attempt"]), []).append((entry.offset(), result))
        return found

    @property
    def first_results(self) -> dict[Attempt, dict[str, Any]]:
        """The first result of each attempt."""
        return {attempt: results[0][1] for attempt, results in self.results.items()}

    @cached_property
    def starts(self) -> dict[tuple[str, int, str], int]:
        """By task, attempt and worker: when the start of a call was first in the journal, by the world's clock."""
        found: dict[tuple[str, int, str], int] = {}
        for name in self.cluster.topics:
            if name.startswith(f"{self.topics.prefix}.attempts."):
                for entry in self.visible(name):
                    note = as_object(entry)
                    if note.get("phase") == "started":
                        found.setdefault((note["task_id"], note["attempt"], note["worker"]), entry.at_us)
        return found

    @cached_property
    def outcomes(self) -> dict[str, list[tuple[Entry, bool]]]:
        """By job: its outcome records, each with whether it is a repetition."""
        found: dict[str, list[tuple[Entry, bool]]] = {}
        for entry in self.visible(self.topics.outcomes):
            repeat = header_map(entry.headers()).get("x-repeat") == "true"
            found.setdefault((entry.key() or b"").decode(), []).append((entry, repeat))
        return found

    def items_of(self, submission: dict[str, Any]) -> list[str]:
        """Return the items of a job, whichever way they came."""
        ref, items = submission.get("input_ref"), submission.get("items")
        if items is not None:
            lines = [line for part in items["parts"] for line in self.objects[part["key"]].splitlines()]
            return [json.loads(line) for line in lines]
        given = submission.get("input", {}) if ref is None else json.loads(self.objects.get(ref["key"], b"{}"))
        return list(given.get("items", ()))

    @cached_property
    def letters(self) -> list[dict[str, Any]]:
        """All dead letters."""
        return [as_object(entry) for entry in self.visible(self.topics.dead_letters)]

    @cached_property
    def submissions(self) -> dict[str, list[dict[str, Any]]]:
        """By job: the readable submissions, forwarded copies and nested jobs left out."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in self.visible(self.topics.jobs):
            value = as_object(entry)
            if "x-forwarded-from" in header_map(entry.headers()) or "workflow" not in value or "parent" in value:
                continue
            key = (entry.key() or b"").decode("utf-8", "replace")
            job_id = value.get("job_id") or key or f"j-{entry.partition()}-{entry.offset()}"
            if value.get("type", "job") == "job":
                found.setdefault(job_id, []).append(value)
        return found


def as_object(entry: Entry) -> dict[str, Any]:
    """Return a record's JSON object; empty where there is none."""
    try:
        value = json.loads(entry.value() or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

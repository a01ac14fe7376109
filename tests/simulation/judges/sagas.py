"""Sagas end wholly done, or with everything undone that was done: the last first, each once in effect, before their job
ends. What cannot be undone has failed for good, and is no reason to leave the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from headrace.orchestrator.core.state import Cursor, TaskRecord, TaskStatus, cursor_key
from tests.simulation.deployment import TOOLS
from tests.simulation.history import History
from tests.simulation.services import ServiceCall


@dataclass(slots=True)
class Saga:
    """What was sent out for one saga, in the order of the commits."""

    job_id: str
    of: int
    """How many entries it has."""
    sent: list[tuple[int, bool]] = field(default_factory=list)
    """Of each attempt: its entry, and whether it undoes it."""
    done: dict[int, str] = field(default_factory=dict)
    """By entry: the task that does it."""
    undone: dict[int, str] = field(default_factory=dict)
    """By entry: the task that undoes it."""
    undoable: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def take(self, task_id: str, told: dict[str, Any]) -> None:
        """Note one attempt, by what its arguments say of it."""
        entry, undoes = told["entry"], told.get("undoes")
        self.sent.append((entry, undoes is not None))
        known = self.done if undoes is None else self.undone
        if known.setdefault(entry, task_id) != task_id:
            self.problems.append(f"entry {entry} has two tasks: {known[entry]} and {task_id}")
        if told["undoable"]:
            self.undoable.add(entry)
        if undoes is not None and undoes != self.done.get(entry):
            self.problems.append(f"{task_id} undoes {undoes} where {self.done.get(entry)} did it")


def sagas(history: History) -> Iterator[str]:
    """Put the sagas together again, and look at each."""
    found, late = _found(history)
    yield from late
    ends = _Ends(history)
    served: dict[str, list[ServiceCall]] = {}
    for call in history.served:
        served.setdefault(call.key, []).append(call)
    for saga in found.values():
        for problem in (*saga.problems, *_order(saga), *_wholeness(saga, ends), *_once(saga, served, ends)):
            yield f"{saga.job_id}: {problem}"


def _found(history: History) -> tuple[dict[str, Saga], list[str]]:
    """Return the sagas by job, and which of them went on after their job."""
    found: dict[str, Saga] = {}
    over: set[str] = set()
    late: list[str] = []
    for each in history.committed:
        for task in each.tasks:
            if task["pool"] != TOOLS or "saga" not in (told := task["tool"]["arguments"]):
                continue
            saga = found.setdefault(told["saga"], Saga(told["saga"], told["of"]))
            saga.take(task["task_id"], told)
            if saga.job_id in over:
                late.append(f"{task['task_id']} was dispatched after its job had ended")
        over |= {key.removeprefix("marker/") for _, key, _ in each.state if key.startswith("marker/")}
    return found, late


def _order(saga: Saga) -> Iterator[str]:
    for (before, was_undone), (entry, undone) in pairwise(saga.sent):
        backward = undone and (not was_undone or entry <= before)
        forward = not undone and not was_undone and before <= entry <= before + 1
        if not (backward or forward):
            yield f"entry {entry} was {'un' * undone}done after entry {before} was {'un' * was_undone}done"


class _Ends:
    """How tasks ended: as their last record says, or as their result does that was read when their job ended."""

    def __init__(self, history: History) -> None:
        self._results = history.results
        self._records: dict[str, TaskRecord] = {}
        self._read: dict[str, int] = {}
        """By job: up to which offset results had been read at its end."""
        read: dict[int, int] = {}
        for each in history.committed:
            for partition, key, record in each.state:
                if isinstance(record, TaskRecord):
                    self._records[key.removeprefix("task/")] = record
                if isinstance(record, Cursor) and key == cursor_key("results"):
                    read[partition] = record.offset
            over = {key.removeprefix("marker/"): partition for partition, key, _ in each.state if key[:7] == "marker/"}
            self._read.update({job_id: read.get(partition, 0) for job_id, partition in over.items()})

    def good(self, task_id: str) -> bool | None:
        """Return whether a task was done; None where its job ended before anybody knew."""
        record, job_id = self._records[task_id], task_id.partition("/")[0]
        if record.ended:
            return record.status is TaskStatus.DONE
        for offset, result in self._results.get((task_id, record.attempt), ()):
            if offset < self._read.get(job_id, 0):
                return result.get("failure") is None
        return None


def _wholeness(saga: Saga, ends: _Ends) -> Iterator[str]:
    """Everything that was done stays done, or everything is undone that can be, as far as anybody knows."""
    for entry, task_id in (*saga.done.items(), *saga.undone.items()):
        if ends.good(task_id) is None:
            yield f"its job ended before it was known what had become of entry {entry}"
    done = [entry for entry, task_id in saga.done.items() if ends.good(task_id)]
    if len(done) == saga.of and not saga.undone:
        return
    for entry in done:
        if entry in saga.undoable and entry not in saga.undone:
            yield f"entry {entry} was done and never undone, {len(done)} of {saga.of} were done"
    for entry in saga.undone:
        if entry not in done:
            yield f"entry {entry} was undone and had not been done"


def _once(saga: Saga, served: dict[str, list[ServiceCall]], ends: _Ends) -> Iterator[str]:
    for entry, task_id in saga.undone.items():
        effects = sum(call.effect_us is not None for call in served.get(task_id, ()))
        if effects > 1 or (not effects and ends.good(task_id)):
            yield f"entry {entry} was undone {effects} times in effect"

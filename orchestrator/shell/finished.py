"""Finished tasks in memory, packed: a job of a million keeps them all until it ends, and needs little of each.

A `TaskRecord` with its key takes 400 bytes beside its output, and the garbage collector looks at it. What nearly every
finished task has to tell is its output, its attempt and when it ended: those stand here in columns, 256 tasks a chunk,
at less than 70 bytes each beside the output's own characters. Whatever has more to tell (a failure, an attempt whose
result may still come) is not taken and stays a record.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from pydantic_core import from_json, to_json

from headrace.orchestrator.core.state import TaskRecord, TaskStatus, fields_besides
from headrace.schemas.messages import ObjectRef

CHUNK = 256
"""Tasks a chunk: room that is not used yet, or not any more, is bounded by one chunk a step."""

_TRUNCATED, _REFERENCE = 1, 2
_FLAG_BITS = 2
_MAX_ATTEMPT = (1 << 16 - _FLAG_BITS) - 1
_SCALARS = frozenset((str, int, float, bool, type(None)))
"""Types of outputs that are kept as they are; lists and objects are kept as JSON, at a fifth of the memory."""


class _Chunk:
    """Columns of 256 tasks of one step."""

    __slots__ = ("at_ms", "count", "marks", "outputs")

    def __init__(self) -> None:
        self.count = 0
        """Tasks that are here."""
        self.marks = array("H", bytes(2 * CHUNK))
        """The attempt above two flags; 0 where no task is."""
        self.at_ms = array("q", bytes(8 * CHUNK))
        self.outputs: list[Any] = [None] * CHUNK
        """A scalar as it is; JSON as bytes, of a list, an object, or the reference to an output."""


class FinishedTasks:
    """The tasks of one partition that are done and have nothing more to tell than their output.

    By the key of their record, ``task/<job>/<step>/<index>``.
    """

    def __init__(self) -> None:
        self._steps: dict[str, dict[int, _Chunk]] = {}
        """By the key without its index, chunks by number."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, key: str, record: TaskRecord) -> bool:
        """Take a record, in place of one under the same key; return whether all of it can be kept here."""
        if record.status is not TaskStatus.DONE or _others(record) != _PLAIN:
            return False
        step, _, text = key.rpartition("/")
        attempt, output, ref = record.attempt, record.output, record.output_ref
        if not 0 < attempt <= _MAX_ATTEMPT or (index := _index(text)) is None:
            return False
        mark = attempt << _FLAG_BITS
        if record.truncated:
            mark |= _TRUNCATED
        if ref is not None:
            if output is not None:  # Nothing of ours: one of them would be lost.
                return False
            output, mark = to_json(ref), mark | _REFERENCE
        elif type(output) not in _SCALARS:
            output = to_json(output, inf_nan_mode="constants")
        number, at = divmod(index, CHUNK)
        if (chunks := self._steps.get(step)) is None:
            chunks = self._steps[step] = {}
        if (chunk := chunks.get(number)) is None:
            chunk = chunks[number] = _Chunk()
        if not chunk.marks[at]:
            chunk.count += 1
            self._count += 1
        chunk.marks[at], chunk.at_ms[at], chunk.outputs[at] = mark, record.at_ms, output
        return True

    def get(self, key: str) -> TaskRecord | None:
        """Return the record that was kept under a key, or None."""
        if (found := self._find(key)) is None:
            return None
        _, _, chunk, at = found
        output, mark, ref = chunk.outputs[at], chunk.marks[at], None
        if type(output) is bytes:
            kept = from_json(output)
            output, ref = (None, ObjectRef(**kept)) if mark & _REFERENCE else (kept, None)
        return TaskRecord(
            TaskStatus.DONE,
            mark >> _FLAG_BITS,
            chunk.at_ms[at],
            output=output,
            output_ref=ref,
            truncated=bool(mark & _TRUNCATED),
        )

    def drop(self, key: str) -> None:
        """Forget what is kept under a key, if anything is."""
        if (found := self._find(key)) is None:
            return
        step, number, chunk, at = found
        chunk.marks[at] = 0
        chunk.outputs[at] = None
        chunk.count -= 1
        self._count -= 1
        if not chunk.count:
            chunks = self._steps[step]
            del chunks[number]
            if not chunks:
                del self._steps[step]

    def jobs(self) -> Iterator[str]:
        """Return the jobs that have finished tasks here, each once a step."""
        return (step.split("/", 2)[1] for step in self._steps)

    def keys_of(self, job_id: str) -> list[str]:
        """Return the keys of a job's finished tasks."""
        return [
            f"{step}/{number * CHUNK + at}"
            for step, chunks in self._steps.items()
            if step.split("/", 2)[1] == job_id
            for number, chunk in chunks.items()
            for at, mark in enumerate(chunk.marks)
            if mark
        ]

    def _find(self, key: str) -> tuple[str, int, _Chunk, int] | None:
        """Return the step, the chunk with its number, and the place in it, where a task is kept."""
        step, _, text = key.rpartition("/")
        # Most keys that are asked for are of tasks just dispatched: of a step of which little has ended yet.
        if (chunks := self._steps.get(step)) is None or (index := _index(text)) is None:
            return None
        number, at = divmod(index, CHUNK)
        chunk = chunks.get(number)
        return None if chunk is None or not chunk.marks[at] else (step, number, chunk, at)


_KEPT = ("attempt", "at_ms", "output", "output_ref", "truncated")
_OTHERS = fields_besides(*_KEPT)
_others = attrgetter(*_OTHERS)
_PLAIN = _others(TaskRecord(TaskStatus.DONE, 1, 0))
"""What the fields that a chunk has no room for are in a record that it takes."""


def _index(text: str) -> int | None:
    """Return the index that a key ends with; None where no task's key is written like that."""
    try:
        index = int(text)
    except ValueError:
        return None
    return index if index >= 0 and str(index) == text else None

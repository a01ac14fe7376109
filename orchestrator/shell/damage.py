"""What is wrong with a partition's state as it was read from the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headrace.orchestrator.core.record_codec import decode_record
from headrace.orchestrator.core.state import OWNER_KEY, StateRecord
from headrace.orchestrator.shell.store import PartitionStore
from headrace.schemas.errors import DecodeError

REWRITTEN = (OWNER_KEY, "cursor/jobs", "cursor/results")
"""Keys that every take-over writes anew: what stood there is missed by nobody."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of ``state`` that cannot be decoded."""

    key: str
    """Bytes that are not UTF-8 are surrogates in it."""
    value: bytes
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A job that runs, and whose workflow's text is not there: nothing of it can go on."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Orphan:
    """A task's or an input's record of a job that is not there: it waits for nobody."""

    key: str


Fault = Unreadable | Abandoned | Orphan


@dataclass(slots=True)
class Damage:
    """The faults of one partition, to be set right in this order before anything else is decided there."""

    faults: list[Fault]

    def mended(self, count: int) -> None:
        """The first so many are set right, and that is committed."""
        del self.faults[:count]


def load(store: PartitionStore, raw: dict[str, tuple[int, bytes | None]], offset: int) -> Damage | None:
    """Bring records of the changelog into a store, and return what is wrong with it, or None.

    Args:
        raw: by key, the offset and the value of its last version. It is empty after that: of a job of a million items
            nothing should be in memory three times, as bytes, as a record, and packed.
        offset: up to where the changelog was read.
    """
    faults: list[Fault] = []
    store.load(_decoded(raw, faults), offset)
    abandoned, orphans = store.survey()
    faults += [Abandoned(job_id) for job_id in abandoned]
    faults += [Orphan(key) for key in orphans]
    return Damage(faults) if faults else None


def _decoded(raw: dict[str, tuple[int, bytes | None]], faults: list[Fault]) -> Iterator[tuple[str, StateRecord | None]]:
    for key in list(raw):
        at, value = raw.pop(key)
        try:
            record = None if value is None else decode_record(key, value)
        except DecodeError as error:
            record = None  # A version before it, still in memory, does not count any more.
            if key not in REWRITTEN:
                faults.append(Unreadable(key, value or b"", at, error.message))
        yield key, record

"""Sets right what is wrong with restored partitions, so that nothing is wrong with them at the next restart.

In the transactions of the loop, before anything else is decided: a record that cannot be read goes to the dead letters
and is tombstoned, and its job ends with one outcome, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, assert_never

import structlog

from headrace.orchestrator.core.events import Event, StateDamaged
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.damage import Abandoned, Fault, Orphan, Unreadable
from headrace.orchestrator.shell.encoder import Encoder
from headrace.orchestrator.shell.halving import Part
from headrace.orchestrator.shell.partition import Partition
from headrace.runtime.letters import Source, Whose, dead_letter
from headrace.schemas.ids import JOB_ID, TASK_ID

log = structlog.get_logger("headrace.orchestrator")

MAX_FAULTS = 2_000
MAX_BYTES = 2_000_000
"""What one transaction sets right: tombstones are small, letters and outcomes are not."""
OUTCOME_BYTES = 20_000


class Decides(Protocol):
    """The decider, as the mender sees it."""

    def tell(self, batch: Batch, partition: Partition, job_id: str, event: Event) -> None: ...


class Mender:
    """Works off the faults of the partitions that are worked.

    Args:
        decider: lets the core decide about a job.
        partitions: those that are worked, by number.
        state: name of the topic.
        by: the name of this process, for dead letters.
    """

    def __init__(
        self,
        decider: Decides,
        *,
        encoder: Encoder,
        partitions: Mapping[int, Partition],
        state: str,
        by: str,
        now_ms: Callable[[], int],
    ) -> None:
        self._decider = decider
        self._encoder = encoder
        self._partitions = partitions
        self._state = state
        self._by = by
        self._now_ms = now_ms

    def faults(self) -> bool:
        """Return whether anything is to be set right."""
        return any(partition.damage is not None for partition in self._partitions.values())

    def mend(self, batch: Batch, at_most: int | None = None) -> bool:
        """Set right what one transaction can hold; return whether something is left for the next.

        Args:
            at_most: faults, where Kafka refused a transaction with more of them.
        """
        room_faults, room_bytes = min(MAX_FAULTS, at_most or MAX_FAULTS), MAX_BYTES
        for partition in self._partitions.values():
            if partition.damage is None:
                continue
            for count, fault in enumerate(partition.damage.faults):
                if room_faults <= 0 or room_bytes <= 0:
                    batch.mended[partition.number] = count
                    return True
                room_faults -= 1
                batch.work(Part.MENDING, partition.number)
                room_bytes -= self._set_right(batch, partition, fault)
            batch.mended[partition.number] = len(partition.damage.faults)
        return False

    def leave(self, number: int, error: Exception) -> None:
        """Leave the first fault of a partition as it is: Kafka refuses what would set it right."""
        partition = self._partitions[number]
        assert partition.damage is not None, "what was refused was a fault of this partition"
        log.error("state.not_mended", partition=number, fault=repr(partition.damage.faults[0])[:500], error=str(error))
        partition.damage.mended(1)
        partition.damage = partition.damage if partition.damage.faults else None

    def _set_right(self, batch: Batch, partition: Partition, fault: Fault) -> int:
        """Return the bytes that it took."""
        match fault:
            case Unreadable():
                return self._bury(batch, partition, fault)
            case Abandoned(job_id):
                log.error("state.workflow_missing", partition=partition.number, job_id=job_id)
                message = "the text of its workflow is not in the state any more"
                self._decider.tell(batch, partition, job_id, StateDamaged("workflow", message))
                return OUTCOME_BYTES
            case Orphan(key):
                partition.store.put({key: None})
                batch.counts["orphan",] += 1
            case _:
                assert_never(fault)
        return 0

    def _bury(self, batch: Batch, partition: Partition, fault: Unreadable) -> int:
        log.error("state.unreadable", partition=partition.number, offset=fault.offset, error=fault.message)
        kind, job_id, task_id = _named(fault.key)
        key = fault.key.encode("utf-8", "surrogateescape")
        letter = dead_letter(
            Source(self._state, partition.number, fault.offset, key, fault.value),
            reason="broken_state",
            message=fault.message,
            at_ms=self._now_ms(),
            by=self._by,
            whose=Whose(job_id=job_id, task_id=task_id),
            max_bytes=self._encoder.letter_bytes,
        )
        record = self._encoder.dead_letter(letter)
        batch.records.append(record)
        batch.counts["dead_letter", self._state, letter.reason] += 1
        partition.store.put({fault.key: None})
        if job_id is not None:
            message = f"its record {fault.key} on topic state cannot be read; the dead letter has it"
            self._decider.tell(batch, partition, job_id, StateDamaged(kind, message))
        return len(record.value or b"") + len(record.key or b"")


def _named(key: str) -> tuple[str, str | None, str | None]:
    """Return the kind of record that a key stands for, and the job and the task that it names."""
    kind, _, rest = key.partition("/")
    if kind == "task" and (found := TASK_ID.fullmatch(rest)):
        return kind, found[1], rest
    job_id = rest.partition("/")[0] if kind in ("input", "items", "signal") else rest
    if kind in ("job", "input", "items", "signal", "marker") and JOB_ID.fullmatch(job_id):
        return kind, job_id, None
    return kind, None, None

"""One partition of ``jobs``, ``results`` and ``state`` as the loop works it."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.orchestrator.shell.damage import Damage
from headrace.orchestrator.shell.store import PartitionStore


@dataclass(slots=True)
class Partition:
    """Its state in memory and its place on the input topics."""

    store: PartitionStore
    next: dict[str, int] = field(default_factory=dict)
    """By topic: the next offset to read, up to which everything is committed."""
    damage: Damage | None = None
    """What is to be set right before anything else is decided."""
    results_end: int = 0
    """The end of ``results`` when it was assigned."""
    last_result_ms: int = 0
    """Timestamp of the last record read from ``results``."""
    caught_up_ms: int = 0
    """The last moment at which ``results`` was known to be read to its end."""

    @property
    def number(self) -> int:
        """The partition's number."""
        return self.store.partition

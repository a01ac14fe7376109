"""What one transaction will say: filled by the decider, written by the loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from headrace.schemas.codec import Record


@dataclass(slots=True)
class Batch:
    """One batch of input and what was decided about it."""

    records: list[Record] = field(default_factory=list)
    """Effects, encoded."""
    next: dict[tuple[str, int], int] = field(default_factory=dict)
    """By topic and partition: the next offset after what this batch read."""
    last_result_ms: dict[int, int] = field(default_factory=dict)
    """By partition: timestamp of the last result read."""
    read: int = 0
    """Records read."""
    dispatched: int = 0
    """Tasks that go out."""
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """What happened, for metrics: counted only once it is committed."""

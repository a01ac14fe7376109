"""What one transaction will say: filled by the decider, written by the loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from headrace.orchestrator.core.effects import DispatchTask, Effect, EmitOutcome, Ignore, SetAside, SetTaskAside
from headrace.orchestrator.core.events import Event, TaskFailed, TaskSucceeded
from headrace.orchestrator.shell.halving import Part, Piece
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
    pieces: int = 0
    """Pieces of work: records, timers, grants, jobs that are being closed."""
    last: Piece | None = None
    """The last of them; of a batch that has only one, the one that is to blame where Kafka refuses it."""
    mended: dict[int, int] = field(default_factory=dict)
    """By partition: how many of its faults this batch sets right."""
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """What happened, for metrics: counted only once it is committed."""

    def work(self, part: Part, partition: int, job_id: str | None = None, *, count: int = 1) -> None:
        """Note a piece of work, or several of one kind."""
        self.pieces += count
        self.last = Piece(part, partition, job_id)

    def count(self, event: Event, effects: list[Effect]) -> None:
        """Count what an event caused."""
        dispatched, latest = 0, ("", "", "")
        for effect in effects:
            if isinstance(effect, DispatchTask):
                task = effect.task
                channel = ("dispatched", task.pool, task.lane)
                if channel != latest:
                    self._note_dispatched(latest, dispatched)
                    dispatched, latest = 0, channel
                dispatched += 1
                if effect.after:
                    self.counts["retried", effect.task.pool, effect.after] += 1
                if effect.cause:
                    self.counts["duplicated", effect.task.pool, effect.cause] += 1
            elif isinstance(effect, EmitOutcome) and not effect.repeat:
                self.counts["job", effect.status] += 1
            elif isinstance(effect, Ignore) and isinstance(event, TaskSucceeded | TaskFailed):
                self.counts["ignored", effect.reason] += 1
            elif isinstance(effect, SetAside | SetTaskAside):
                self.counts["dead_letter", "", effect.reason] += 1
        self._note_dispatched(latest, dispatched)

    def _note_dispatched(self, channel: tuple[str, str, str], count: int) -> None:
        if count:
            self.dispatched += count
            self.counts[channel[0], channel[1], str(channel[2])] += count

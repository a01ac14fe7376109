"""An attempt under way, from its start to the acknowledgement of its result, and the deliveries that it answers.

Usually it is one delivery. Where the partition was lost and came back while the call ran, the same task is delivered
again: the attempt takes that delivery too, and one call answers both.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from headrace.schemas.codec import Headers
from headrace.schemas.messages import Task
from headrace.workers.shell.attempt import Ended
from headrace.workers.shell.delivery import Delivery

Key = tuple[str, int]
"""Task and attempt."""


class NotOurs(Exception):
    """The partition was lost before the call began: the call is another worker's to make."""


@dataclass(slots=True, eq=False)
class Running:
    """One attempt.

    `note_start` and `settle` run in the producer's thread, the rest on the event loop. Both append before they look,
    so a delivery that comes in at that moment is told by one of them or by both, which does no harm.
    """

    task: Task
    trace: Headers
    deliveries: list[Delivery]
    until_ms: int
    """When its call ends at the latest."""
    runs: asyncio.Task[Ended] | None = None
    journalled: bool = False
    """Whether the journal was told of its start."""
    begun: bool = False
    """Whether the provider may have been asked."""
    stopped: Literal["", "cancelled", "drained"] = ""
    """Why it was closed from outside."""
    started_at: int | None = None
    """Where the journal has its start."""
    settled: bool = False
    ended_at: int | None = None
    """Where the journal has its end."""

    @property
    def key(self) -> Key:
        """What tells attempts apart."""
        return self.task.task_id, self.task.attempt

    @property
    def ours(self) -> bool:
        """Whether the call is still this worker's to begin."""
        return any(delivery.assignment.ours for delivery in self.deliveries)

    @property
    def trusted(self) -> bool:
        """Whether the poller had the time to learn what is ours."""
        return self.deliveries[-1].assignment.trusted

    def adopt(self, delivery: Delivery) -> None:
        """Take a further delivery of the same attempt."""
        self.deliveries.append(delivery)
        if self.started_at is not None:
            delivery.begin(self.started_at)
        if self.settled:
            delivery.finish(self.ended_at)

    def note_start(self, at: int) -> None:
        """Note where the journal has the start."""
        self.started_at = at
        for delivery in self.deliveries:
            delivery.begin(at)

    def settle(self, at: int | None) -> None:
        """Finish the deliveries: journal and result are acknowledged."""
        self.ended_at, self.settled = at, True
        for delivery in self.deliveries:
            delivery.finish(at)

    def stop(self, why: Literal["cancelled", "drained"]) -> None:
        """Close the call."""
        if not self.stopped and self.runs is not None:
            self.stopped = why
            self.runs.cancel()

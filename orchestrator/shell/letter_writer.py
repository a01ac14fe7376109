"""Dead letters of what this orchestrator sets aside: records it cannot use, and tasks that failed for good."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from headrace.orchestrator.core.effects import SetAside, SetTaskAside
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.encoder import Encoder
from headrace.runtime.letters import Source, Whose, dead_letter, task_letter
from headrace.schemas.codec import Record
from headrace.schemas.messages import DeadLetter

log = structlog.get_logger("headrace.orchestrator")


class LetterWriter:
    """Writes dead letters in the name of this process.

    Args:
        encoder: makes records of letters, and knows how long one may be.
        by: the name of this process.
    """

    def __init__(self, encoder: Encoder, by: str, now_ms: Callable[[], int]) -> None:
        self._encoder = encoder
        self._by = by
        self._now_ms = now_ms

    def set_aside(
        self,
        batch: Batch,
        source: Source,
        reason: str,
        message: str,
        *,
        job_id: str | None,
        errors: tuple[str, ...] = (),
    ) -> None:
        """Add to the batch the letter of a record that cannot be used."""
        letter = dead_letter(
            source, reason=reason, message=message, at_ms=self._now_ms(), by=self._by, whose=Whose(job_id),
            errors=errors, max_bytes=self._encoder.letter_bytes,
        )  # fmt: skip
        batch.records.append(self._encoder.dead_letter(letter))
        batch.counts["dead_letter", source.topic, reason] += 1

    def of_effect(
        self, source: Source | None, effect: SetAside | SetTaskAside, task: Record | None, *, job_id: str, now_ms: int
    ) -> DeadLetter | None:
        """Return the letter that an effect asks for; None where no record brought it about."""
        if isinstance(effect, SetTaskAside):
            assert task is not None
            return task_letter(
                effect.task, written=task, found=source, reason=effect.reason, message=effect.message,
                attempts=effect.history, at_ms=now_ms, by=self._by, redrives=effect.redrives,
                max_bytes=self._encoder.letter_bytes,
            )  # fmt: skip
        if source is None:
            log.warning("event.set_aside", job_id=job_id, reason=effect.reason, message=effect.message)
            return None
        return dead_letter(
            source, reason=effect.reason, message=effect.message, at_ms=now_ms, by=self._by, whose=Whose(job_id),
            max_bytes=self._encoder.letter_bytes,
        )  # fmt: skip

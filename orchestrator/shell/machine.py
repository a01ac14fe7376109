"""The pure core, as the shell sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headrace.orchestrator.core.events import Event
from headrace.orchestrator.core.state import Decision, TaskRecord
from headrace.orchestrator.core.view import JobView
from headrace.orchestrator.core.window import Standing
from headrace.schemas.messages import Result


class Machine(Protocol):
    """The pure core, as the shell sees it."""

    def step(self, view: JobView, event: Event, now_ms: int) -> Decision: ...

    def answer(self, view: JobView, results: Sequence[Result], now_ms: int) -> tuple[Decision, int]: ...

    def standing(self, view: JobView) -> Standing | None: ...

    def channel_of(self, view: JobView, step: str, index: int, record: TaskRecord) -> tuple[str, str, int] | None: ...

"""What the machine itself did meanwhile: without it nobody can tell an engine that stalls from one that is starved."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

TICK_S = 0.05
TELL_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Machine:
    """Figures of one run."""

    cores: int = 0
    load_mean: float = 0.0
    """Mean of the one-minute load average, from the beginning of the load to its end."""
    load_max: float = 0.0
    longest_tick_s: float = 0.0
    """The longest time that a thread which only sleeps 50 ms was kept from running."""


class Watch:
    """A thread that sleeps, wakes up and notes how late. A context manager.

    Args:
        tell: called every 15 s, so that people see that it goes on.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-machine", daemon=True)
        self._loads: list[float] = []
        self._longest_s = 0.0

    def figures(self) -> Machine:
        """Return what was seen until now."""
        loads = self._loads or [os.getloadavg()[0]]
        return Machine(os.cpu_count() or 0, sum(loads) / len(loads), max(loads), self._longest_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join(5)

    def _run(self) -> None:
        told = before = time.monotonic()
        while not self._closing.wait(TICK_S):
            now = time.monotonic()
            self._longest_s, before = max(self._longest_s, now - before - TICK_S), now
            if now - told >= TELL_EVERY_S:
                told = now
                self._loads.append(os.getloadavg()[0])
                self._tell()

"""The scheduler and the clock. One thing runs at a time; what runs next is decided by the seed alone."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from tests.simulation.process import Process, Thread

EPOCH_S = 1_800_000_000
"""What the wall clock says when a world begins."""
STORM = 5_000_000
"""Events of one world; more means that something spins without the clock moving on."""


class World:
    """A heap of what happens when, in microseconds.

    Args:
        seed: everything random is drawn from it, through `draws`.
        trace: called with each line of the trace, or None.
    """

    def __init__(self, seed: int, *, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.now_us = 0
        self.current: Thread | None = None
        """The thread that runs; None while the broker or the world itself acts."""
        self.digest = 0
        """Of every step taken: two runs of a seed are the same run if it is equal."""
        self.events = 0
        self.hub: greenlet = getcurrent()
        self.morgue: list[Process] = []
        """Processes that died at a boundary of their own and are to be cleared away."""
        self.findings: list[str] = []
        """What nobody should ever see: crashes by our own bugs, and errors logged as such."""
        self._trace = trace
        self._heap: list[tuple[int, int, Process | None, Callable[..., Any], tuple[Any, ...]]] = []
        self._count = 0
        self._draws = self.draws("schedule")
        self.bits = self._draws.getrandbits

    def draws(self, name: str) -> Random:
        """Return a stream of draws of its own: what one part draws changes nothing for another."""
        return Random(f"{self.seed}/{name}")

    def at(self, delay_us: int, act: Callable[..., Any], *args: Any, process: Process | None = None) -> None:
        """Do something later; what belongs to a process waits while it is frozen, and is forgotten once it is dead."""
        self._count += 1
        heappush(self._heap, (self.now_us + delay_us, self._count, process, act, args))

    def run(self, until_us: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass until a moment, or until `done`; return whether it was done."""
        heap = self._heap
        while heap and heap[0][0] <= until_us:
            if done():
                return True
            at_us, _, process, act, args = heappop(heap)
            self.events += 1
            self.now_us = at_us
            if process is not None:
                if not process.alive:
                    continue
                if process.frozen:
                    process.backlog.append((act, args))
                    continue
            act(*args)
            while self.morgue:
                self.morgue.pop().clear_away()
            if self.events > STORM:
                raise RuntimeError(f"seed {self.seed}: {STORM} events at {self.now_us / 1e6:.3f} s: something spins")
        if done():
            return True
        self.now_us = max(self.now_us, until_us)
        return False

    def step(self, *what: int) -> None:
        """Mix a step into the digest."""
        digest = self.digest ^ (self.now_us & 0xFFFFFFFF)
        for each in what:
            digest = (digest * 1_000_003 ^ each) & 0xFFFFFFFFFFFFFFFF
        self.digest = digest

    def note(self, what: str) -> None:
        """Write a line of the trace."""
        if self._trace is not None:
            who = self.current.name if self.current else "-"
            self._trace(f"{self.now_us / 1e6:12.6f} {who:<24} {what}")

    @property
    def tracing(self) -> bool:
        """Whether anybody reads the trace."""
        return self._trace is not None

    def finding(self, what: str) -> None:
        """Note what nobody should ever see."""
        self.note(f"FINDING {what}")
        self.findings.append(f"at {self.now_us / 1e6:.3f} s: {what}")

    # ── Called by what runs in a process ─────────────────────────────────────────────────────────────────────────

    def running(self) -> Thread:
        """Return the thread that runs.

        Raises:
            Killed: its process is dead; nothing that it does has an effect any more.
        """
        thread = self.current
        if thread is None or not thread.process.alive:
            raise Killed
        return thread

    def boundary(self) -> Thread:
        """Pass a point where the process may die or freeze, and where others may go first. Return the thread.

        Raises:
            Killed: it died here.
        """
        thread = self.current
        if thread is None or not thread.process.alive:
            raise Killed
        process = thread.process
        process.boundaries += 1
        if process.boundaries == process.fate_at:
            process.meet_fate(thread)
        if not self.bits(3):
            thread.pause(self.bits(8))
        return thread

    def writing(self) -> Thread:
        """Pass a boundary between the parts of a write, where dying or standing still does the most harm."""
        process = self.running().process
        process.writes += 1
        if process.writes == process.fate_at_write:
            process.fate_at = process.boundaries + 1
        return self.boundary()

    def cost(self, most_bits: int = 6) -> Thread:
        """Pass a boundary and take some time: what loops must not stand still."""
        thread = self.boundary()
        thread.pause(1 + self.bits(most_bits))
        return thread

    def sleep(self, seconds: float) -> None:
        """Let the thread that runs wait."""
        thread = self.boundary()
        thread.pause(int(seconds * 1e6))
        self.boundary()


class Killed(BaseException):
    """The process ends here, as by ``kill -9``. Production code cannot catch it."""

"""What ``time``, ``random``, ``threading`` and ``os`` are inside the world."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

from tests.simulation.process import Thread as Greenthread
from tests.simulation.world import EPOCH_S, World

NAP_S = 0.01
"""No sleep is shorter: a loop that naps for a millisecond costs as much as one that works, and shows no more."""
PATIENCE = 4
"""How much longer than asked a short wait may last, as on a busy machine."""


class SimTime:
    """``time``: one clock that goes forward, and the wall clock of the process that asks, which may be off."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now_us / 1e6 + 1_000.0

    perf_counter = monotonic

    def monotonic_ns(self) -> int:
        return self._world.now_us * 1_000 + 1_000_000_000_000

    def time(self) -> float:
        return self.time_ns() / 1e9

    def time_ns(self) -> int:
        world = self._world
        skew_us = world.current.process.skew_us if world.current else 0
        return (EPOCH_S * 1_000_000 + world.now_us + skew_us) * 1_000

    def sleep(self, seconds: float) -> None:
        self._world.sleep(max(seconds, NAP_S))


class SimRandom:
    """``random``: drawn from the seed."""

    def __init__(self, world: World) -> None:
        draws = world.draws("production")
        self.random = draws.random
        self.randrange = draws.randrange
        self.uniform = draws.uniform


class SimOs:
    """``os``, but for what ends a process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _exit(self, _code: int) -> NoReturn:
        self._world.running().process.die()


def make_event(world: World) -> type:
    """Return what ``threading.Event`` is."""

    class Event:
        def __init__(self) -> None:
            self._set = False
            self._waiters: list[Greenthread] = []

        def is_set(self) -> bool:
            return self._set

        def set(self) -> None:
            world.running()
            self._set = True
            for waiter in self._waiters:
                waiter.wake()

        def clear(self) -> None:
            self._set = False

        def wait(self, timeout: float | None = None) -> bool:
            thread = world.boundary()
            deadline_us = None if timeout is None else world.now_us + int(timeout * 1e6)
            while not self._set:
                left_us = None if deadline_us is None else deadline_us - world.now_us
                if left_us is not None and left_us <= 0:
                    return False
                self._waiters.append(thread)
                try:
                    thread.pause(left_us)
                finally:
                    self._waiters.remove(thread)
            return True

    return Event


def make_lock(world: World) -> type:
    """Return what ``threading.Lock`` is."""

    class Lock:
        def __init__(self) -> None:
            self._held = False
            self._waiters: list[Greenthread] = []

        def __enter__(self) -> bool:
            thread = world.boundary()
            while self._held:
                self._waiters.append(thread)
                thread.pause()
            self._held = True
            return True

        def __exit__(self, *_: object) -> None:
            self._held = False
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.wake()

    return Lock


def make_thread(world: World) -> type:
    """Return what ``threading.Thread`` is."""

    class Thread:
        def __init__(
            self,
            target: Callable[..., Any],
            *,
            name: str = "thread",
            args: tuple[Any, ...] = (),
            daemon: bool = False,
        ) -> None:
            del daemon  # The process ends with its main thread, as those of production code do.
            self._target, self.name, self._args = target, name, args
            self._thread: Greenthread | None = None

        def start(self) -> None:
            process = world.boundary().process
            self._thread = process.spawn(self.name, lambda: self._target(*self._args))

        def is_alive(self) -> bool:
            return self._thread is not None and not self._thread.done

        def join(self, timeout: float | None = None) -> None:
            joiner = world.boundary()
            assert self._thread is not None
            if not self._thread.done:
                self._thread.joiners.append(joiner)
                joiner.pause(None if timeout is None else int(timeout * 1e6))
                self._thread.joiners.remove(joiner)

    return Thread

"""Processes and their threads. A thread is a greenlet; it stops only where it waits."""

from __future__ import annotations

import traceback
from asyncio.events import _set_running_loop
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from greenlet import greenlet

from headrace.schemas.errors import HeadraceError

if TYPE_CHECKING:
    from tests.simulation.world import World

KILL, FREEZE = "kill", "freeze"


@dataclass(slots=True)
class Span:
    """A while; the world's calm ends some sooner than was meant."""

    begin_us: int
    end_us: int


class Process:
    """What is killed, frozen, and started again as a whole.

    Args:
        world: where it runs.
        name: for the trace.
        skew_ms: how far its wall clock is off.
        on_end: told when it is gone, with what it ended by: None, an error, or "killed".
    """

    def __init__(
        self, world: World, name: str, *, skew_ms: int = 0, on_end: Callable[[Process, Any], None] = lambda *_: None
    ) -> None:
        self.world = world
        self.name = name
        self.skew_us = skew_ms * 1_000
        self.on_end = on_end
        self.alive = True
        self.frozen = False
        self.backlog: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        """What would have happened to it while it was frozen."""
        self.freezes: list[Span] = []
        """When it stood still."""
        self.cuts: list[Span] = []
        """When nothing of it reached the broker, nor the other way."""
        self.threads: list[Thread] = []
        self.boundaries = 0
        self.fate_at = -1
        """The boundary at which its fate meets it."""
        self.writes = 0
        """Of the boundaries, those between the parts of a write."""
        self.fate_at_write = -1
        self.fate: tuple[str, int] = (KILL, 0)
        self.ended_by: Any = None
        self.on_term: Callable[[], None] | None = None
        """What SIGTERM does."""
        self.told = False
        """Whether SIGTERM was sent."""
        self.when_dead: list[Callable[[], None]] = []
        """What the world does about its connections and pending tasks."""

    def spawn(self, name: str, target: Callable[[], Any], *, main: bool = False) -> Thread:
        """Start a thread."""
        thread = Thread(self, f"{self.name}/{name}", target, main=main)
        self.threads.append(thread)
        return thread

    def meet_fate(self, thread: Thread) -> None:
        """Die or freeze, at a boundary of the thread that runs."""
        kind, value = self.fate
        self.world.note(f"{kind} at boundary {self.boundaries}")
        if kind == KILL:
            self.die()
        self.freeze(value)
        thread.pause(0)

    def die(self) -> NoReturn:
        """Die at this very place, in the thread that runs."""
        from tests.simulation.world import Killed

        self.alive = False
        self.ended_by = "killed"
        self.world.morgue.append(self)
        raise Killed

    def freeze(self, for_us: int) -> None:
        """Stop as by SIGSTOP, and go on after a while."""
        if self.alive and not self.frozen:
            self.frozen = True
            self.freezes.append(Span(self.world.now_us, self.world.now_us + for_us))
            self.world.at(for_us, self.thaw)

    def cut_off(self, for_us: int) -> None:
        """Go on without reaching the broker for a while."""
        self.reach()
        self.cuts.append(Span(self.world.now_us, self.world.now_us + for_us))

    def reach(self) -> None:
        """Reach the broker from now on, however long it was to be cut off."""
        if self.cuts:
            self.cuts[-1].end_us = min(self.cuts[-1].end_us, self.world.now_us)

    @property
    def cut_off_us(self) -> int:
        """How much longer it is cut off from the broker."""
        return max(0, self.cuts[-1].end_us - self.world.now_us) if self.cuts else 0

    def thaw(self) -> None:
        """Go on: what came meanwhile happens now."""
        if not self.frozen:
            return
        self.frozen = False
        self.freezes[-1].end_us = self.world.now_us
        self.world.note(f"{self.name} goes on")
        backlog, self.backlog = self.backlog, []
        for act, args in backlog:
            self.world.at(self.world.bits(6), act, *args, process=self)

    def kill(self) -> None:
        """Die between two boundaries: everything it has waits."""
        if self.alive:
            self.world.note(f"{self.name} is killed")
            self.alive = False
            self.ended_by = "killed"
            self.clear_away()

    def end(self, by: Any) -> None:
        """End by itself: the main thread came to its end."""
        if self.alive:
            self.alive = False
            self.ended_by = by
            self.world.morgue.append(self)
            if by is not None and not isinstance(by, HeadraceError):
                self.world.finding(f"{self.name} crashed: {explain(by)}")

    def clear_away(self) -> None:
        """Unwind what is left of a dead process; nothing that runs on the way has an effect. From the hub only."""
        from tests.simulation.world import Killed

        world = self.world
        for thread in self.threads:
            if thread.greenlet:
                world.current = thread
                thread.greenlet.throw(Killed)
                world.current = None
        for act in self.when_dead:
            act()
        self.threads.clear()
        self.backlog.clear()
        self.when_dead.clear()
        world.note(f"{self.name} is gone: {self.ended_by!r}")
        self.on_end(self, self.ended_by)


class Thread:
    """One thread of a process.

    Args:
        main: whether the process ends with it.
    """

    __slots__ = ("done", "greenlet", "joiners", "loop", "main", "name", "process", "target", "token", "world")

    def __init__(self, process: Process, name: str, target: Callable[[], Any], *, main: bool) -> None:
        self.process = process
        self.world = process.world
        self.name = name
        self.target = target
        self.main = main
        self.loop: Any = None
        """The asyncio loop that it drives."""
        self.done = False
        self.joiners: list[Thread] = []
        self.token = 0
        self.greenlet = greenlet(self._run, self.world.hub)
        self.world.at(self.world.bits(7), self._resume, 0, True, process=process)

    def _run(self, _value: Any) -> None:
        from tests.simulation.world import Killed

        by: Any = None
        try:
            self.target()
        except Killed:
            return
        except Exception as error:
            by = error
            if not self.main:
                self.world.finding(f"thread {self.name} crashed: {explain(error)}")
        finally:
            self.done = True
            for joiner in self.joiners:
                joiner.wake()
        if self.main:
            self.process.end(by)

    def _resume(self, token: int, value: bool) -> None:
        if token != self.token or self.done:
            return
        world = self.world
        world.current = self
        world.step(token, len(self.name))
        if self.loop is not None:
            _set_running_loop(self.loop)
            self.greenlet.switch(value)
            _set_running_loop(None)
        else:
            self.greenlet.switch(value)
        world.current = None

    def pause(self, timeout_us: int | None = None) -> bool:
        """Wait until woken or the time is over; return whether it was woken. Called by the thread itself."""
        world = self.world
        self.token += 1
        if timeout_us is not None:
            world.at(timeout_us, self._resume, self.token, False, process=self.process)
        return bool(world.hub.switch())

    def wake(self, delay_us: int = 0) -> None:
        """Go on, if it waits."""
        self.world.at(delay_us + self.world.bits(5), self._resume, self.token, True, process=self.process)


def explain(error: BaseException) -> str:
    """Return an error with the last places it came from."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    return f"{error!r} in {places}"

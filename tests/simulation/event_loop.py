"""asyncio's loop on the world's clock: its selector waits as a thread of the world does, and nothing else differs."""

from __future__ import annotations

import asyncio
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.process import Process, Thread
from tests.simulation.world import Killed, World


class Selector:
    """Waits for the time to pass or for `wake`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: Thread | None = None
        self._woken = False

    def select(self, timeout: float | None) -> list[Any]:
        thread = self._world.running()
        if not self._woken and (timeout is None or timeout > 0):
            self._waiting = thread
            thread.pause(None if timeout is None else int(timeout * 1e6) + 1)
            self._waiting = None
        elif not self._world.bits(2):
            thread.pause(self._world.bits(6))
        self._woken = False
        self._world.running()
        return []

    def wake(self) -> None:
        self._woken = True
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.wake()


class SimLoop(BaseEventLoop):
    """One process's event loop. `run` drives it in the main thread of the process."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__()
        self._world = world
        self._process = process
        self._selector = Selector(world)
        self._clock_resolution = 1e-6
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.signals: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        process.when_dead.append(self._bury)

    def run(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a coroutine to its end."""
        thread = self._world.running()
        thread.loop = self
        asyncio.events._set_running_loop(self)
        task = self.create_task(main())
        while not task.done():
            self._run_once()  # type: ignore[attr-defined]
        self._world.running()
        return task.result()

    def time(self) -> float:
        return self._world.now_us / 1e6

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self._world.running()
        task = super().create_task(coro, **options)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run a function in a thread of the process."""
        self._world.running()
        future = self.create_future()

        def target() -> None:
            try:
                value = func(*args)
            except Exception as error:
                self.call_soon_threadsafe(_settle, future, error, True)
            else:
                self.call_soon_threadsafe(_settle, future, value, False)

        self._process.spawn("executor", target)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        self.signals[sig] = (callback, args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self._process.alive and not isinstance(error, Killed):
            self._world.finding(f"{self._process.name}: {context.get('message')}: {error!r}")

    def _process_events(self, event_list: list[Any]) -> None:
        """No files are watched."""

    def _write_to_self(self) -> None:
        self._selector.wake()

    def _bury(self) -> None:
        """End what hangs in the loop of a dead process, so that nothing of it runs when memory is collected."""
        for task in list(self._tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coro: Any = task.get_coro()
            for end in (lambda c=coro: c.throw(Killed()), coro.close):
                try:
                    end()
                except BaseException:
                    continue
        self._tasks.clear()
        self._closed = True


def _settle(future: asyncio.Future[Any], value: Any, failed: bool) -> None:
    if future.done():
        return
    if failed:
        future.set_exception(value)
    else:
        future.set_result(value)

"""Calls that block, each in a thread of its own that does not keep the process from ending.

A thread cannot be stopped. So the number of those that live is bounded: where calls that were given up still fill all
places, the next one is refused, and is not done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from headrace.schemas.errors import AdapterError, ErrorKind

T = TypeVar("T")


class Threads:
    """Runs what blocks.

    Args:
        name: of the threads, for whoever looks at a process.
        most: threads that live at once.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._live = 0
        self._lock = threading.Lock()

    async def run(self, act: Callable[[], T], *, abort: Callable[[], None] | None = None) -> T:
        """Return what `act` returns, or raise what it raises.

        Args:
            abort: called where the caller is cancelled meanwhile, to make `act` end soon.

        Raises:
            AdapterError: ``overloaded``: every thread is taken; nothing was done.
        """
        with self._lock:
            if self._live >= self._most:
                message = f"{self._live} calls that were given up have not ended"
                raise AdapterError(ErrorKind.OVERLOADED, message)
            self._live += 1
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        threading.Thread(target=self._run, args=(act, loop, done), name=self._name, daemon=True).start()
        try:
            return await done
        except asyncio.CancelledError:
            if abort is not None:
                abort()
            raise

    def _run(self, act: Callable[[], T], loop: asyncio.AbstractEventLoop, done: asyncio.Future[T]) -> None:
        tell: Callable[[], None]
        try:
            found = act()
        except BaseException as error:
            tell = partial(done.set_exception, _raisable(error))
        else:
            tell = partial(done.set_result, found)
        with self._lock:
            self._live -= 1
        with suppress(RuntimeError):  # The loop is closed: nobody waits.
            loop.call_soon_threadsafe(lambda: None if done.cancelled() else tell())


def _raisable(error: BaseException) -> BaseException:
    """Return the error, or one that a future takes: StopIteration it does not, and SystemExit would end the worker."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")

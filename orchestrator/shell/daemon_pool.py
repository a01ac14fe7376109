"""Threads that a process may leave behind: one that hangs in a dead file system must not keep it from ending.

`concurrent.futures` joins its threads when the interpreter ends; these are daemons and are not joined.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
_Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class DaemonPool:
    """Runs calls in a few threads, started when they are first needed.

    Args:
        threads: most calls at once.
        name: what the threads are called.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._started = 0
        self._work: SimpleQueue[_Work | None] = SimpleQueue()

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Have a call made; return its future."""
        future: Future[T] = Future()
        self._work.put((future, call, args))
        if self._started < self._threads:
            self._started += 1
            Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end after what is already in line."""
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, call, args = work
            try:
                future.set_result(call(*args))
            except BaseException as error:
                future.set_exception(error)

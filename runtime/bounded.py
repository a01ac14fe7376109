"""A call into a client library that may never come back, with an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Call(Generic[T]):
    """One call in a thread of its own. The thread is a daemon: it holds no process back, nor what the call uses."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.done = threading.Event()
        self.value: list[T] = []
        self.error: BaseException | None = None
        threading.Thread(target=self._run, name="bounded-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self.value.append(self._call())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


def within(
    seconds: float, call: Callable[[], T], *, waiting: Callable[[float], None] = lambda _: None, every_s: float = 1.0
) -> T:
    """Return what the call returns, or raise what it raises.

    A call that did not come back in time goes on in its thread, and whatever it holds must not be used any more.

    Args:
        seconds: how long it may take.
        waiting: told every second how long it takes by now; it may raise to wait no longer.

    Raises:
        TimeoutError: it did not come back.
    """
    made, began = _Call(call), time.monotonic()
    while not made.done.wait(max(0.0, min(every_s, seconds - (time.monotonic() - began)))):
        waited = time.monotonic() - began
        if waited >= seconds:
            raise TimeoutError(f"no return in {seconds:g} s")
        waiting(waited)
    if made.error is not None:
        raise made.error
    return made.value[0]

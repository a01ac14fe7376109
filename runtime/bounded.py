"""A call into a client library that may never come back, with an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BoundedCall(Generic[T]):
    """One call in a thread of its own. The thread is a daemon: it holds no process back, nor what the call uses."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._began = time.monotonic()
        self._done = threading.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="bounded-call", daemon=True).start()

    @property
    def failed(self) -> bool:
        """Whether it came back with an error."""
        return self._error is not None

    def result(
        self, seconds: float, *, waiting: Callable[[float], None] = lambda _: None, every_s: float = 1.0
    ) -> T:  # fmt: skip
        """Return what the call returns, or raise what it raises; arguments and errors as those of `within`.

        Args:
            seconds: how long it may take from its start.
        """
        while not self._done.wait(max(0.0, min(every_s, seconds - (time.monotonic() - self._began)))):
            waited = time.monotonic() - self._began
            if waited >= seconds:
                raise TimeoutError(f"no return in {seconds:g} s")
            waiting(waited)
        if self._error is not None:
            raise self._error
        return self._value[0]

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()


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
    return BoundedCall(call).result(seconds, waiting=waiting, every_s=every_s)

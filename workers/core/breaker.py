"""A circuit breaker: whether a provider that failed lately is asked now. Pure: time is an argument.

::

    closed ── so many of the last calls failed ──▶ open
      ▲                                            │ its time is over, and a call wants to begin
      │ the probe was answered                     ▼
      └─────────────────────────────────────── half-open ── the probe failed ──▶ open

Half-open lets one call through at a time, the probe. What began before the state changed says nothing about the new
one, so its ending is passed over: each call holds a permit of its time.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from headrace.schemas.errors import ErrorKind

FAILING = frozenset({ErrorKind.NETWORK, ErrorKind.OVERLOADED, ErrorKind.SERVER_ERROR, ErrorKind.TIMEOUT})
"""What says that a provider is not well. Another refusal is an answer: it would refuse the same call tomorrow."""


class BreakerState(IntEnum):
    """The numbers are those of the metric `headrace_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The breaker of one provider.

    Args:
        failures: so many of the last calls failing open it.
        window: how many of the last calls are looked at.
        open_ms: how long it stays open before a probe.
    """

    def __init__(self, *, failures: int, window: int, open_ms: int) -> None:
        assert 1 <= failures <= window
        self._failures = failures
        self._open_ms = open_ms
        self._lately: deque[bool] = deque(maxlen=window)
        """Of the last calls, whether they failed."""
        self._permit = 0
        self._open_until_ms = 0
        self._probing = False
        self.state = BreakerState.CLOSED

    def begin(self, now_ms: int) -> int | None:
        """Return a permit for a call that begins now, to be handed back to `end`; None: leave this provider alone."""
        if self.state is BreakerState.OPEN and now_ms >= self._open_until_ms:
            self._change(BreakerState.HALF_OPEN)
        match self.state:
            case BreakerState.CLOSED:
                return self._permit
            case BreakerState.HALF_OPEN if not self._probing:
                self._probing = True
                return self._permit
            case _:
                return None

    def end(self, permit: int, now_ms: int, *, failed: bool | None) -> None:
        """Take the ending of a call.

        Args:
            failed: None where it says nothing, since the call was given up.
        """
        if permit != self._permit:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._probing = False
        if failed is None:
            return
        if self.state is BreakerState.HALF_OPEN:
            if failed:
                self._open(now_ms)
            else:
                self._change(BreakerState.CLOSED)
            return
        self._lately.append(failed)
        if sum(self._lately) >= self._failures:
            self._open(now_ms)

    def wait_ms(self, now_ms: int) -> int:
        """Return after how long a call may be let through; 0: now, or when the probe has ended."""
        return max(0, self._open_until_ms - now_ms) if self.state is BreakerState.OPEN else 0

    def _open(self, now_ms: int) -> None:
        self._change(BreakerState.OPEN)
        self._open_until_ms = now_ms + self._open_ms

    def _change(self, state: BreakerState) -> None:
        self.state = state
        self._permit += 1
        self._probing = False
        self._lately.clear()

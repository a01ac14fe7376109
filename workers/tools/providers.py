"""Ordered failover: the first provider that may be asked is asked, the next one where nothing can have been done."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from headrace.runtime import metrics
from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.tools import BreakerSpec
from headrace.workers.core.breaker import FAILING, Breaker, BreakerState
from headrace.workers.core.failover import may_go_on
from headrace.workers.tools.base import ToolAnswer

log = structlog.get_logger("headrace.tools")

BUSY_PROBE_MS = 1_000
"""When to ask again where every provider waits for its probe's ending."""


def now_ms() -> int:
    """Return a clock that only goes forward."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Provider:
    """One of the providers of a tool."""

    name: str
    ask: Callable[[Any, float], Awaitable[Any]]
    """Makes one call, from the request and the seconds that it may take; raises AdapterError."""


class Failover:
    """The providers of one tool, in their order, each with a breaker.

    A single provider is asked always: where there is no other, a call that is refused unasked helps nobody. Its
    breaker is seen in the metric all the same.

    Args:
        tool: its name, and `pool` the pool's, for logs and metrics.
        side_effect: whether a call changes something.
        clock: milliseconds; for tests.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        breaker: BreakerSpec,
        *,
        tool: str,
        pool: str,
        side_effect: bool,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._tool = tool
        self._side_effect = side_effect
        self._clock = clock
        self._alone = len(providers) == 1
        self._guarded = [
            (
                provider,
                Breaker(failures=breaker.failures, window=breaker.window, open_ms=round(breaker.open_s * 1_000)),
                metrics.BREAKER.labels(pool, tool, provider.name),
            )
            for provider in providers
        ]
        for _, _, gauge in self._guarded:
            gauge.set(BreakerState.CLOSED)

    async def call(self, request: Any, *, timeout_s: float) -> ToolAnswer:
        """Ask one provider after the other.

        Args:
            request: handed to each of them.
            timeout_s: for all together; each may take an equal share of what is left, so that a silent one leaves
                time for the next.

        Raises:
            AdapterError: the last one's; ``overloaded`` where no provider may be asked now.
        """
        last: AdapterError | None = None
        deadline = time.monotonic() + timeout_s
        for place, (provider, breaker, gauge) in enumerate(self._guarded):
            permit = self._begin(provider, breaker, gauge)
            if permit is None and not self._alone:
                continue
            failed: bool | None = None
            try:
                share_s = max(0.0, deadline - time.monotonic()) / (len(self._guarded) - place)
                output = await provider.ask(request, share_s)
                failed = False
                return ToolAnswer(output, "" if self._alone else provider.name)
            except AdapterError as error:
                failed = error.kind in FAILING
                last = error
                if not may_go_on(error.kind, unconfirmed=error.unconfirmed, side_effect=self._side_effect):
                    raise
                if place + 1 < len(self._guarded):
                    log.warning(
                        "provider.failed_over", tool=self._tool, provider=provider.name, kind=error.kind.value,
                        message=error.message,
                    )  # fmt: skip
            finally:
                if permit is not None:
                    self._end(provider, breaker, gauge, permit, failed)
        raise last or self._none_may_be_asked()

    def states(self) -> dict[str, BreakerState]:
        """Return each provider's state."""
        return {provider.name: breaker.state for provider, breaker, _ in self._guarded}

    def _begin(self, provider: Provider, breaker: Breaker, gauge: Any) -> int | None:
        before = breaker.state
        permit = breaker.begin(self._clock())
        self._note(provider, before, breaker.state, gauge)
        return permit

    def _end(self, provider: Provider, breaker: Breaker, gauge: Any, permit: int, failed: bool | None) -> None:
        before = breaker.state
        breaker.end(permit, self._clock(), failed=failed)
        self._note(provider, before, breaker.state, gauge)

    def _note(self, provider: Provider, before: BreakerState, after: BreakerState, gauge: Any) -> None:
        if before is after:
            return
        gauge.set(after)
        event = {
            BreakerState.OPEN: "breaker.opened",
            BreakerState.HALF_OPEN: "breaker.probed",
            BreakerState.CLOSED: "breaker.closed",
        }[after]
        (log.warning if after is BreakerState.OPEN else log.info)(event, tool=self._tool, provider=provider.name)

    def _none_may_be_asked(self) -> AdapterError:
        wait_ms = min(breaker.wait_ms(self._clock()) for _, breaker, _ in self._guarded) or BUSY_PROBE_MS
        message = f"every provider of {self._tool} failed lately; none is asked now"
        return AdapterError(ErrorKind.OVERLOADED, message, retry_after_ms=wait_ms)

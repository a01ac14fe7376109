"""What keeps a loop from its work: how long it waits before it tries again, and how often it says so.

An outage lasts minutes, and each try fails in its own words. So the wait grows, one line is logged when the trouble
begins or becomes another one and then one every half a minute, and one when it is over. The metric counts its seconds,
also while the loop itself waits inside a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog

from headrace.runtime import metrics

log = structlog.get_logger("headrace.runtime")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
SAY_EVERY_S = 30.0
QUIET_S = 10.0
"""Trouble that comes back sooner goes on: it waits as long, and is not said again."""

KINDS = ("postponed", "refused", "session_lost", "fenced", "unreachable", "no_leader", "too_few_replicas")
"""The closed set of the metric's label; docs/operations.md, "When Kafka is in trouble", says what each means."""


class Trouble:
    """Belongs to one loop.

    Args:
        kinds: those that this loop can be in.
        clock: seconds, monotonic.
    """

    def __init__(self, *kinds: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kind = self._said = ""
        self._since = self._said_at = 0.0
        self._over_at = -QUIET_S
        self._tries = 0
        self.text: str | None = None
        """What is wrong now, for readiness; None where nothing is."""
        for kind in kinds:
            assert kind in KINDS, kind
            metrics.TROUBLE_SECONDS.labels(kind).set_function(partial(self.seconds, kind))

    def note(self, kind: str, text: str) -> float:
        """Note one more failure; return the seconds to wait before the next try."""
        now = self._clock()
        if self.text is None:
            self._since = now
            if now - self._over_at >= QUIET_S:
                self._tries, self._said = 0, ""
        self._tries += 1
        if kind != self._said or now - self._said_at >= SAY_EVERY_S:
            self._said, self._said_at = kind, now
            log.warning("work.postponed", kind=kind, reason=text, tries=self._tries, seconds=round(now - self._since))
        self._kind, self.text = kind, text
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._tries - 1, 10))

    def over(self) -> None:
        """Note that work was done."""
        if self.text is None:
            return
        self._over_at = self._clock()
        if self._said_at >= self._since:
            log.info("work.resumed", tries=self._tries, seconds=round(self._over_at - self._since))
        self._kind, self.text = "", None

    def seconds(self, kind: str) -> float:
        """Return for how long this kind of trouble lasts, 0 where it does not."""
        return self._clock() - self._since if self.text is not None and kind == self._kind else 0.0

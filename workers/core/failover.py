"""Whether the next provider may be asked after one failed. Pure."""

from __future__ import annotations

from headrace.schemas.errors import ErrorKind
from headrace.workers.core.breaker import FAILING

ELSEWHERE = FAILING | {ErrorKind.AUTH, ErrorKind.RATE_LIMITED}
"""What another provider may do better. What is wrong with the call itself is wrong everywhere."""


def may_go_on(kind: ErrorKind, *, unconfirmed: bool, side_effect: bool) -> bool:
    """Return whether the next provider may be asked.

    A key tells a provider that it has done a call already, but no other one: so where something may have been done,
    the next one would do it twice, also for a tool that is idempotent.

    Args:
        unconfirmed: whether the failed provider may have done it.
        side_effect: whether doing it changes something.
    """
    return kind in ELSEWHERE and not (side_effect and unconfirmed)

"""Which dead letters are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from headrace.schemas.errors import ConfigError
from headrace.schemas.messages import DeadLetter

_AGO = re.compile(r"([0-9]{1,6})(s|m|h|d)", re.ASCII)
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What a letter must be; what is None does not count."""

    reason: str | None = None
    pool: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    """``name@version``, or ``name`` for any version."""
    job: str | None = None
    topic: str | None = None
    """Of the origin; the prefix may be left out."""
    since_ms: int | None = None
    until_ms: int | None = None
    prefix: str = ""
    """Of the topics' names."""

    @property
    def is_empty(self) -> bool:
        """Whether it lets every letter pass."""
        return self == LetterFilter(prefix=self.prefix)

    def __call__(self, letter: DeadLetter) -> bool:
        """Return whether a letter is meant."""
        same = (
            (self.reason, letter.reason),
            (self.pool, letter.pool),
            (self.tenant, letter.tenant),
            (self.job, letter.job_id),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in same)
            and self.workflow in (None, letter.workflow, (letter.workflow or "").partition("@")[0])
            and self.topic in (None, letter.origin.topic, letter.origin.topic.removeprefix(f"{self.prefix}."))
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
        )


def moment_ms(text: str, now_ms: int) -> int:
    """Return the moment that a text means: RFC 3339 with a time zone, or so long ago (``90m``, ``2d``).

    Raises:
        ConfigError: it is neither.
    """
    if found := _AGO.fullmatch(text):
        return now_ms - int(found[1]) * _UNITS_MS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return int(moment.timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text[:80]!r} is no moment", "write 2026-01-31T08:00:00Z, or how long ago: 30s, 90m, 6h, 2d"
        ) from None

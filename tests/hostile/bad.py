"""One hostile input: what is written where, and how it must end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RawHeaders = Sequence[tuple[bytes, bytes | None]]


class Ends(StrEnum):
    """How an input ends."""

    REJECTED = "rejected"
    """One outcome `rejected` under its job id."""
    LETTER = "letter"
    """A dead letter with its origin."""
    TAKEN = "taken"
    """It is legal, or becomes so by what is left out; its job runs."""
    IGNORED = "ignored"
    """It changes nothing, and is counted."""
    PASSED_OVER = "passed over"
    """Readers go on to the next record, with a warning."""


@dataclass(frozen=True)
class Bad:
    """A record for a topic."""

    name: str
    """What is wrong with it, as a test id."""
    topic: str
    """``jobs``, ``results``, ``tasks``, ``control``, ``state``, ``outcomes``, ``events``, ``attempts`` or
    ``dead-letters``."""
    ends: Ends
    key: bytes | None
    value: bytes | None
    headers: RawHeaders = ()
    reason: str = ""
    """Of its dead letter, or of its outcome; empty: not told."""
    job_id: str = ""
    """The job that it is about, where it names one."""
    works: bool = False
    """Whether it keeps a template at work up to its bound: seconds by itself, so it is measured for time alone."""

    @property
    def size(self) -> int:
        """Its bytes."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


def slug(name: str) -> str:
    """Return a name as a job id."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]


def js(value: Any) -> bytes:
    """Return JSON; NaN and surrogates as `json` writes them."""
    return json.dumps(value).encode()

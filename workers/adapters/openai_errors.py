"""What an HTTP error of an OpenAI-shaped provider means: status, type and code to an error kind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from headrace.schemas.errors import KINDS, AdapterError, ErrorKind

MAX_RETRY_AFTER_MS = 600_000
"""A longer wish is cut: the orchestrator asks again after ten minutes at most."""
MAX_MESSAGE = 300

MONEY_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "project_spend_limit_exceeded",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
"""429 with one of these will not go away by waiting. Source: the SDKs' types of November 2026."""

CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"})
"""The last one is llama.cpp's."""
FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "responsible_ai_policy_violation"})
CONTEXT_TEXT = re.compile(r"(?i)(context (length|size|window)|maximum context|too many tokens|prompt is too long)")

STATUS_KINDS = {
    401: ErrorKind.AUTH,
    402: ErrorKind.AUTH,
    403: ErrorKind.AUTH,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.OVERLOADED,
    413: ErrorKind.CONTEXT_TOO_LONG,
    425: ErrorKind.OVERLOADED,
    429: ErrorKind.RATE_LIMITED,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}


def failure_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Sequence[str] = (),
    now: datetime | None = None,
) -> AdapterError:
    """Return the error that an answer other than 200 means.

    Args:
        headers: by lower-case name.
        secrets: texts that must not appear in the message, whatever the provider echoes.
        now: for a Retry-After date; None reads the clock.
    """
    error = _error_body(body)
    code, kind_name = str(error.get("code") or ""), str(error.get("type") or "")
    text = str(error.get("message") or "")
    kind = _kind(status, {code, kind_name}, text)
    kind = _overruled(kind, status, headers.get("x-should-retry", "").lower())
    message = f"HTTP {status}" + (f" {code or kind_name}" if code or kind_name else "") + (f": {text}" if text else "")
    for secret in secrets:
        message = message.replace(secret, "***")
    retry_after = retry_after_ms(headers, now=now) if KINDS[kind].retriable else None
    # Another 2xx than 200 may have been done and billed; an error status was not.
    return AdapterError(kind, message[:MAX_MESSAGE], retry_after_ms=retry_after, unconfirmed=200 <= status < 300)


def _error_body(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body[:65_536])
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _kind(status: int, names: set[str], text: str) -> ErrorKind:
    if names & MONEY_CODES:
        return ErrorKind.AUTH
    if 300 <= status < 400:
        return ErrorKind.BAD_REQUEST
    if status in STATUS_KINDS:
        return STATUS_KINDS[status]
    if 400 <= status < 500:
        if names & CONTEXT_CODES or (status == 400 and CONTEXT_TEXT.search(text)):
            return ErrorKind.CONTEXT_TOO_LONG
        return ErrorKind.CONTENT_FILTERED if names & FILTER_CODES else ErrorKind.BAD_REQUEST
    return ErrorKind.SERVER_ERROR


def _overruled(kind: ErrorKind, status: int, should_retry: str) -> ErrorKind:
    """Apply ``x-should-retry``: the provider knows better than its status says whether another call can help."""
    if should_retry == "false" and KINDS[kind].retriable:
        return ErrorKind.BAD_REQUEST
    if should_retry == "true" and kind is ErrorKind.BAD_REQUEST and status >= 400:
        return ErrorKind.SERVER_ERROR
    return kind


def retry_after_ms(headers: Mapping[str, str], *, now: datetime | None = None) -> int | None:
    """Return the provider's wish in milliseconds: ``retry-after-ms``, else ``retry-after`` in seconds or as a date."""
    if (wish := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(wish)
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return _bounded(seconds * 1_000)
    if text is None:
        return None
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return _bounded((at - (now or datetime.now(UTC))).total_seconds() * 1_000)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def _bounded(milliseconds: float) -> int:
    return int(min(max(0.0, milliseconds), MAX_RETRY_AFTER_MS))

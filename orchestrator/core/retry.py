"""Whether a failed task is tried again, and how long it waits: a policy for each error kind."""

from __future__ import annotations

from headrace.orchestrator.core.steps import RetryPolicy, RetryRule, RetryRules
from headrace.schemas.errors import KINDS, ErrorKind

MAX_RETRY_AFTER_MS = 3_600_000
"""A provider's own wish is obeyed up to an hour; beyond it the answer is more likely a mistake than a plan."""

NEVER = RetryPolicy(attempts=1, backoff_ms=500, max_backoff_ms=30_000)
DEFAULTS: dict[ErrorKind, RetryPolicy] = {
    # A storm of 429 or 503 lasts minutes: eight attempts wait up to three of them, and more where the provider says so.
    ErrorKind.RATE_LIMITED: RetryPolicy(attempts=8, backoff_ms=1_000, max_backoff_ms=60_000),
    ErrorKind.OVERLOADED: RetryPolicy(attempts=8, backoff_ms=1_000, max_backoff_ms=60_000),
    ErrorKind.NETWORK: RetryPolicy(attempts=5, backoff_ms=500, max_backoff_ms=30_000),
    ErrorKind.SERVER_ERROR: RetryPolicy(attempts=5, backoff_ms=500, max_backoff_ms=30_000),
    # Both may be paid for each time.
    ErrorKind.TIMEOUT: RetryPolicy(attempts=3, backoff_ms=500, max_backoff_ms=30_000),
    ErrorKind.MALFORMED_OUTPUT: RetryPolicy(attempts=3, backoff_ms=500, max_backoff_ms=30_000),
    # Not the task's fault: bounded by how often it may be interrupted, see `interruptions`.
    ErrorKind.INTERRUPTED: RetryPolicy(attempts=1, backoff_ms=250, max_backoff_ms=10_000),
}
"""What holds where the step says nothing. Kinds that are not here are not tried again."""

NAMEABLE = (
    ErrorKind.RATE_LIMITED,
    ErrorKind.OVERLOADED,
    ErrorKind.TIMEOUT,
    ErrorKind.NETWORK,
    ErrorKind.SERVER_ERROR,
    ErrorKind.MALFORMED_OUTPUT,
    ErrorKind.TRUNCATED,
    ErrorKind.CONTEXT_TOO_LONG,
    ErrorKind.CONTENT_FILTERED,
    ErrorKind.AUTH,
    ErrorKind.BAD_REQUEST,
    ErrorKind.INTERNAL,
)
"""Kinds that ``retry.on`` may name. A cancelled, expired or unaffordable task has nothing left to try."""


def policy_for(kind: ErrorKind, rules: RetryRules) -> RetryPolicy:
    """Return the policy that holds for a failure of this kind.

    What ``on`` says of the kind comes first, then what the step says in general, then the kind's default. In general
    means: for kinds where another attempt can help; the others are tried again only where ``on`` names them.
    """
    named = rules.on.get(kind, RetryRule())
    general = rules.general if KINDS[kind].retriable else RetryRule()
    default = DEFAULTS.get(kind, NEVER)
    backoff = _first(named.backoff_ms, general.backoff_ms, default.backoff_ms)
    longest = _first(named.max_backoff_ms, general.max_backoff_ms, max(default.max_backoff_ms, backoff))
    return RetryPolicy(_first(named.attempts, general.attempts, default.attempts), backoff, longest)


def _first(named: int | None, general: int | None, default: int) -> int:
    return named if named is not None else general if general is not None else default


def backoff_ms(attempt: int, *, policy: RetryPolicy, jitter: float, retry_after_ms: int | None = None) -> int:
    """Return the delay before the next attempt, in milliseconds: never less than the provider asked for.

    Args:
        attempt: attempts already made, counted from 1.
        jitter: in [0, 1), drawn by the shell: the core owns no randomness.

    Source: "Exponential Backoff And Jitter" (Brooker, 2015), full jitter.
    """
    # The exponent is bounded, so that a policy of many attempts shifts no number beyond reason.
    ceiling = min(policy.max_backoff_ms, policy.backoff_ms << min(max(attempt - 1, 0), 30))
    delay = int(ceiling * jitter)
    if retry_after_ms is None:
        return delay
    # Jitter goes on top of the wish: a storm of tasks told "in one second" must not come back as one.
    return min(retry_after_ms, MAX_RETRY_AFTER_MS) + int(policy.backoff_ms * jitter)

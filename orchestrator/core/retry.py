"""How long a failed task waits before it is tried again."""

from __future__ import annotations

from headrace.orchestrator.core.steps import RetryPolicy
from headrace.schemas.errors import KINDS
from headrace.schemas.messages import Failure

MAX_RETRY_AFTER_MS = 3_600_000
"""A provider's own wish is obeyed up to an hour; beyond it the answer is more likely a mistake than a plan."""


def may_retry(failure: Failure, attempt: int, policy: RetryPolicy) -> bool:
    """Return whether another attempt can help and is allowed.

    Args:
        attempt: attempts already made, counted from 1.
    """
    return KINDS[failure.kind].retriable and attempt < policy.attempts


def backoff_ms(attempt: int, *, policy: RetryPolicy, jitter: float, retry_after_ms: int | None = None) -> int:
    """Return the delay before the next attempt, in milliseconds: never less than the provider asked for.

    Args:
        attempt: attempts already made, counted from 1.
        jitter: in [0, 1), drawn by the shell: the core owns no randomness.

    Source: "Exponential Backoff And Jitter" (Brooker, 2015), full jitter.
    """
    # The exponent is bounded, so that a policy of many attempts shifts no number beyond reason.
    ceiling = min(policy.max_backoff_ms, policy.backoff_ms << min(attempt - 1, 30))
    delay = int(ceiling * jitter)
    if retry_after_ms is None:
        return delay
    # Jitter goes on top of the wish: a storm of tasks told "in one second" must not come back as one.
    return min(retry_after_ms, MAX_RETRY_AFTER_MS) + int(policy.backoff_ms * jitter)

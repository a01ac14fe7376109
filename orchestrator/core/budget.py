"""What a call can cost at most, and whether the job's budget allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.orchestrator.core.context import prompt_upper_tokens
from headrace.orchestrator.core.state import JobHeader, PoolSpent
from headrace.schemas.messages import ChatMessage, Result
from headrace.schemas.pools import Pool


def upper_bound(messages: Sequence[ChatMessage], max_output_tokens: int, pool: Pool) -> tuple[int, int]:
    """Return the most tokens and the most micro-US-dollars that a call can cost.

    No tokenizer makes more tokens than the text has UTF-8 bytes, and no model reads more than its context.

    Source: docs/architecture.md, "Guarantees", 3.
    """
    prompt = prompt_upper_tokens(messages, context_tokens=pool.context_tokens)
    millionths = prompt * pool.price.input + max_output_tokens * pool.price.output
    return prompt + max_output_tokens, -(-millionths // 1_000_000)


def fits(header: JobHeader, bound: tuple[int, int]) -> bool:
    """Return whether a call of at most `bound` fits what the budget leaves beside what is spent and reserved."""
    tokens, microusd = bound
    if header.budget_tokens is not None:
        used = sum(spent.input_tokens + spent.output_tokens for _, spent in header.spent)
        if used + header.reserved_tokens + tokens > header.budget_tokens:
            return False
    if header.budget_microusd is not None:
        paid = sum(spent.cost_microusd for _, spent in header.spent)
        if paid + header.reserved_microusd + microusd > header.budget_microusd:
            return False
    return True


def reserve(header: JobHeader, bound: tuple[int, int]) -> JobHeader:
    """Return the header with a call's upper bound set aside."""
    return replace(
        header,
        reserved_tokens=header.reserved_tokens + bound[0],
        reserved_microusd=header.reserved_microusd + bound[1],
    )


def settle(header: JobHeader, reserved: tuple[int, int] | None, result: Result, *, ended: bool) -> JobHeader:
    """Return the header with an attempt's cost booked and its reservation released.

    Args:
        reserved: what was set aside for the attempt; None where the job has no budget.
        result: the attempt's result.
        ended: whether the task is over with it.
    """
    tokens, microusd = reserved or (0, 0)
    spent = dict(header.spent)
    spent[result.pool] = _add(spent.get(result.pool, PoolSpent()), result, ended)
    return replace(
        header,
        spent=tuple(spent.items()),
        reserved_tokens=header.reserved_tokens - tokens,
        reserved_microusd=header.reserved_microusd - microusd,
        blocked=False,
    )


def _add(spent: PoolSpent, result: Result, ended: bool) -> PoolSpent:
    usage = result.usage
    models = spent.models
    if result.model and result.model not in models and len(models) < 16:
        models = (*models, result.model)
    return PoolSpent(
        tasks=spent.tasks + ended,
        attempts=spent.attempts + 1,
        input_tokens=spent.input_tokens + usage.input_tokens,
        cached_tokens=spent.cached_tokens + usage.cached_tokens,
        cache_write_tokens=spent.cache_write_tokens + usage.cache_write_tokens,
        output_tokens=spent.output_tokens + usage.output_tokens,
        reasoning_tokens=spent.reasoning_tokens + usage.reasoning_tokens,
        cost_microusd=spent.cost_microusd + result.cost_microusd,
        call_ms=spent.call_ms + result.call_ms,
        models=models,
    )

"""What a call can cost at most, whether the job's budget allows it, and what an attempt is booked at.

An attempt's money is in one of four places, and in one only::

    reserve ──▶ reserved ──settle──▶ spent          its result came
                   └─────owe───────▶ unconfirmed    nobody knows whether the provider did it and billed it
                                         └─confirm─▶ spent        its result came after all

`free_of` is the rest; the sum of the four is the budget, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.orchestrator.core.context import prompt_upper_tokens
from headrace.orchestrator.core.owed import Owed
from headrace.orchestrator.core.state import JobHeader, PoolSpent
from headrace.schemas.messages import ChatMessage, Result
from headrace.schemas.pools import Pool

Bound = tuple[int, int]
"""Tokens and micro-US-dollars."""
MAX_MODELS = 16


def upper_bound(messages: Sequence[ChatMessage], max_output_tokens: int, pool: Pool) -> Bound:
    """Return the most tokens and the most micro-US-dollars that a call can cost.

    No tokenizer makes more tokens than the text has UTF-8 bytes, and no model reads more than its context.

    Source: docs/guarantees.md, "Money".
    """
    prompt = prompt_upper_tokens(messages, context_tokens=pool.context_tokens)
    millionths = prompt * pool.price.input + max_output_tokens * pool.price.output
    return prompt + max_output_tokens, -(-millionths // 1_000_000)


def is_limited(header: JobHeader) -> bool:
    """Return whether the job has a budget."""
    return header.spec.budget_microusd is not None or header.spec.budget_tokens is not None


def booked(header: JobHeader) -> Bound:
    """Return what is spent, unconfirmed or reserved: everything but what is free."""
    tokens, microusd = header.reserved_tokens, header.reserved_microusd
    for _, spent in header.spent:
        tokens += spent.input_tokens + spent.output_tokens + spent.unconfirmed_tokens
        microusd += spent.cost_microusd + spent.unconfirmed_microusd
    return tokens, microusd


def fits(header: JobHeader, bound: Bound) -> bool:
    """Return whether a call of at most `bound` fits what the budget leaves."""
    tokens, microusd = booked(header)
    if header.spec.budget_tokens is not None and tokens + bound[0] > header.spec.budget_tokens:
        return False
    return header.spec.budget_microusd is None or microusd + bound[1] <= header.spec.budget_microusd


def reserve(header: JobHeader, bound: Bound) -> JobHeader:
    """Return the header with a call's upper bound set aside."""
    return replace(
        header,
        reserved_tokens=header.reserved_tokens + bound[0],
        reserved_microusd=header.reserved_microusd + bound[1],
    )


def settle(header: JobHeader, reserved: Bound | None, result: Result, *, pool: str, ended: bool) -> JobHeader:
    """Return the header with an attempt's cost booked and its reservation released.

    Args:
        reserved: what was set aside for the attempt, where a bound is known.
        result: the attempt's result.
        pool: whose attempt it was, as dispatched: what a result says of it is not believed.
        ended: whether the task is over with it.
    """
    header = _released(header, reserved)
    spent = header.spent_in(pool)
    if result.unconfirmed:
        return header.with_spent(pool, replace(_owed(spent, reserved or (0, 0)), tasks=spent.tasks + ended))
    return header.with_spent(pool, _with_result(spent, result, reserved, ended))


def settle_all(header: JobHeader, settled: Sequence[tuple[Bound | None, Result]], *, pool: str) -> JobHeader:
    """Return the header as `settle` leaves it after each of these in turn, all of which ended their tasks.

    Args:
        settled: what was set aside for each attempt, and its result; none of them is unconfirmed.
        pool: whose attempts they were.
    """
    spent, models = header.spent_in(pool), header.spent_in(pool).models
    tokens_in = tokens_out = cached = written = reasoning = microusd = call_ms = 0
    bound_tokens = bound_microusd = over_tokens = over_microusd = 0
    for reserved, result in settled:
        usage, cost = result.usage, result.cost_microusd
        tokens_in += usage.input_tokens
        tokens_out += usage.output_tokens
        cached += usage.cached_tokens
        written += usage.cache_write_tokens
        reasoning += usage.reasoning_tokens
        microusd += cost
        call_ms += result.call_ms
        models = _with_model(models, result.model)
        if reserved is not None:
            bound_tokens, bound_microusd = bound_tokens + reserved[0], bound_microusd + reserved[1]
            over_tokens += max(0, usage.input_tokens + usage.output_tokens - reserved[0])
            over_microusd += max(0, cost - reserved[1])
    count, any_reserved = len(settled), any(reserved is not None for reserved, _ in settled)
    header = _released(header, (bound_tokens, bound_microusd) if any_reserved else None)
    return header.with_spent(
        pool,
        replace(
            spent,
            tasks=spent.tasks + count,
            attempts=spent.attempts + count,
            input_tokens=spent.input_tokens + tokens_in,
            cached_tokens=spent.cached_tokens + cached,
            cache_write_tokens=spent.cache_write_tokens + written,
            output_tokens=spent.output_tokens + tokens_out,
            reasoning_tokens=spent.reasoning_tokens + reasoning,
            cost_microusd=spent.cost_microusd + microusd,
            call_ms=spent.call_ms + call_ms,
            models=models,
            overrun_tokens=spent.overrun_tokens + over_tokens,
            overrun_microusd=spent.overrun_microusd + over_microusd,
        ),
    )


def owe(header: JobHeader, reserved: Bound | None, *, pool: str) -> JobHeader:
    """Return the header with an attempt of unknown fate booked at its upper bound, its reservation released."""
    return _released(header, reserved).with_spent(pool, _owed(header.spent_in(pool), reserved or (0, 0)))


def confirm(header: JobHeader, owed: Owed, result: Result, *, ended: bool) -> JobHeader:
    """Return the header with an attempt settled whose result came after all."""
    spent = header.spent_in(owed.pool)
    spent = replace(
        spent,
        attempts=spent.attempts - 1,
        unconfirmed_attempts=spent.unconfirmed_attempts - 1,
        unconfirmed_tokens=spent.unconfirmed_tokens - owed.tokens,
        unconfirmed_microusd=spent.unconfirmed_microusd - owed.cost_microusd,
    )
    known = (owed.tokens, owed.cost_microusd) if owed.tokens or owed.cost_microusd else None
    return replace(header, blocked=False).with_spent(owed.pool, _with_result(spent, result, known, ended))


def _released(header: JobHeader, reserved: Bound | None) -> JobHeader:
    if reserved is None and not header.blocked:
        return header
    tokens, microusd = reserved or (0, 0)
    return replace(
        header,
        reserved_tokens=header.reserved_tokens - tokens,
        reserved_microusd=header.reserved_microusd - microusd,
        blocked=False,
    )


def count_task(header: JobHeader, pool: str) -> JobHeader:
    """Return the header with one more task that ended in a pool."""
    spent = header.spent_in(pool)
    return header.with_spent(pool, replace(spent, tasks=spent.tasks + 1))


def count_duplicate(header: JobHeader, pool: str) -> JobHeader:
    """Return the header with one more attempt that may be paid for a second time."""
    spent = header.spent_in(pool)
    return header.with_spent(pool, replace(spent, duplicated=spent.duplicated + 1))


def _owed(spent: PoolSpent, bound: Bound) -> PoolSpent:
    return replace(
        spent,
        attempts=spent.attempts + 1,
        unconfirmed_attempts=spent.unconfirmed_attempts + 1,
        unconfirmed_tokens=spent.unconfirmed_tokens + bound[0],
        unconfirmed_microusd=spent.unconfirmed_microusd + bound[1],
    )


def _with_result(spent: PoolSpent, result: Result, reserved: Bound | None, ended: bool) -> PoolSpent:
    usage, nested = result.usage, result.nested
    over = (0, 0)
    if reserved is not None:
        tokens = usage.input_tokens + usage.output_tokens
        over = (max(0, tokens - reserved[0]), max(0, result.cost_microusd - reserved[1]))
    return PoolSpent(  # Once a task: the constructor takes a third of what `replace` does.
        tasks=spent.tasks + ended,
        attempts=spent.attempts + (1 if nested is None else nested.attempts),
        input_tokens=spent.input_tokens + usage.input_tokens,
        cached_tokens=spent.cached_tokens + usage.cached_tokens,
        cache_write_tokens=spent.cache_write_tokens + usage.cache_write_tokens,
        output_tokens=spent.output_tokens + usage.output_tokens,
        reasoning_tokens=spent.reasoning_tokens + usage.reasoning_tokens,
        cost_microusd=spent.cost_microusd + result.cost_microusd,
        call_ms=spent.call_ms + result.call_ms,
        models=_with_model(spent.models, result.model),
        unconfirmed_attempts=spent.unconfirmed_attempts + (0 if nested is None else nested.unconfirmed_attempts),
        unconfirmed_tokens=spent.unconfirmed_tokens + (0 if nested is None else nested.unconfirmed_tokens),
        unconfirmed_microusd=spent.unconfirmed_microusd + (0 if nested is None else nested.unconfirmed_microusd),
        overrun_tokens=spent.overrun_tokens + over[0],
        overrun_microusd=spent.overrun_microusd + over[1],
        duplicated=spent.duplicated,
    )


def _with_model(models: tuple[str, ...], model: str) -> tuple[str, ...]:
    """Return the models that answered, with one more where it is new."""
    if model and model not in models and len(models) < MAX_MODELS:
        return (*models, model[:200])
    return models

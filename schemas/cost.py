"""What a call costs by the pool's prices."""

from __future__ import annotations

from headrace.schemas.messages import Usage
from headrace.schemas.pools import Price


def cost_microusd(usage: Usage, price: Price) -> int:
    """Return the price of one call in micro-US-dollars, rounded up: a sum of calls is never below the bill.

    ``input_tokens`` includes what was read from the cache, so that part is taken out before it is priced apart.
    """
    cached = min(usage.cached_tokens, usage.input_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    total = (usage.input_tokens - cached) * price.input + cached * cached_price + usage.output_tokens * price.output
    return -(-total // 1_000_000)

"""What a call costs by the pool's prices."""

from __future__ import annotations

from headrace.schemas.messages import Usage
from headrace.schemas.pools import Price


def cost_microusd(usage: Usage, price: Price) -> int:
    """Return the price of one call in micro-US-dollars, rounded up."""
    return price.cost_microusd(usage.input_tokens, usage.output_tokens, usage.cached_tokens)

"""An attempt whose fate nobody knows yet."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Owed:
    """An attempt of unknown fate whose result may still come: what it is booked at until then."""

    attempt: int
    pool: str
    tokens: int = 0
    cost_microusd: int = 0

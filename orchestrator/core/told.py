"""What the record of a scripted step's task tells beside its answer."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Told:
    """What a script goes by beside an answer: over all attempts of the task."""

    confidence: float | None = None
    """Of the answer, where it is known."""
    input_tokens: int = 0
    """Of the answer's attempt, as the next two."""
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    """Of all attempts."""
    late: bool = False
    """The answer came when the step had ended: it was paid, and not kept."""

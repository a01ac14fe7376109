"""How a job will end that may not end yet: what its sagas did is undone first."""

from __future__ import annotations

from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Ending:
    """Stands in the header from the moment when the job would have ended to its end."""

    status: str
    reason: str | None
    message: str
    sagas: tuple[tuple[str, int], ...]
    """The sagas that ran then, each with how many of its tasks had begun: none goes forward any more."""

    def begun(self, step: str) -> int | None:
        """Return how many tasks of a saga had begun; None of one that did not run then."""
        return dict(self.sagas).get(step)

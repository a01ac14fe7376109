"""What the provider was asked, against what was dispatched: nothing is invented, little is asked twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.simulation.history import History

JOURNAL = False
"""Whether workers answer a redelivered task from their journal. Off until main has it (kafka-mechanics C4): until then
a call may be made again for everything since the last commit, and this judge only counts."""


def calls(history: History) -> Iterator[str]:
    """Compare calls, tasks and results."""
    made = Counter((call.task_id, call.attempt) for call in history.calls)
    for attempt in made:
        if attempt not in history.dispatched:
            yield f"{attempt} was called and never dispatched"
    answered = {(call.task_id, call.attempt) for call in history.calls if call.ended == "ok"}
    for attempt, result in history.first_results.items():
        if result.get("failure") is None and attempt in history.dispatched and attempt not in answered:
            yield f"{attempt} has an answer that the provider never gave"
    again = sum(made.values()) - len(made)
    if JOURNAL and again > history.chaos.in_flight_at_kills:
        yield f"{again} calls were made twice, with {history.chaos.in_flight_at_kills} in flight at kills"

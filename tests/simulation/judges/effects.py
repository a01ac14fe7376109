"""What services were asked, against what was dispatched: nothing is invented, and what changes something and is not
declared idempotent is never asked for again once it may have been done, neither by workers nor by orchestrators.

All attempts of a task carry one key. A pool with such a tool begins no call before it is in the journal, so a call is
repeated only by a worker that was cut off past its session (see `judges.calls`), and otherwise as a new attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.simulation.deployment import POOLS, TOOLS
from tests.simulation.history import History
from tests.simulation.judges.calls import came_back
from tests.simulation.services import ServiceCall


def effects(history: History) -> Iterator[str]:
    """Compare the calls of each key with its attempts."""
    served: dict[str, list[ServiceCall]] = {}
    for call in history.served:
        served.setdefault(call.key, []).append(call)
    asked = Counter(
        _key(task_id, attempt, task["tool"]["tool"])
        for (task_id, attempt), task in history.dispatched.items()
        if task["pool"] == TOOLS
    )
    for key, several in served.items():
        attempts = asked[key]
        if not attempts:
            yield f"{key} was served and never dispatched"
        elif len(several) > attempts and not any(map(came_back, several)):
            yield f"{key} was served {len(several)} times in {attempts} attempts"
        for before, again in pairwise(several):
            if not _may_follow(before, again):
                yield f"{key} was served at {before.began_us / 1e6:.3f} ({before.ended or 'no end'}) and again"
    yield from _answers(history, served)


def _key(task_id: str, attempt: int, tool: str) -> str:
    """Return the idempotency key that an attempt has."""
    return task_id if POOLS.tools[tool].side_effect else f"{task_id}:{attempt}"


def _may_follow(before: ServiceCall, again: ServiceCall) -> bool:
    """Return whether a call may be made after another with its key."""
    return POOLS.tools[again.tool].repeatable or before.ended == "refused" or came_back(before) or came_back(again)


def _answers(history: History, served: dict[str, list[ServiceCall]]) -> Iterator[str]:
    for attempt, result in history.first_results.items():
        task = history.dispatched.get(attempt)
        if task is None or task["pool"] != TOOLS or result.get("failure") is not None:
            continue
        key = _key(*attempt, task["tool"]["tool"])
        if not any(call.ended == "ok" for call in served.get(key, ())):
            yield f"{attempt} has an answer that no service gave"

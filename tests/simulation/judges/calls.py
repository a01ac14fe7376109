"""What the provider was asked, against what was dispatched: nothing is invented, and nothing is asked twice where the
journal could know of it (kafka-mechanics C4).

A worker knows of another's call if its start stood in the journal when it opened the partition. What was written
later nobody reads: then a call is made again under the same attempt, but only where the worker of one of the two was
gone, for good or for a while, or did not know that its group had dropped it. In pools with a price no call begins
before it is in the journal, so there it takes more: a worker that was cut off past its session while it had the start
on its way, and came back a moment later.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from headrace.workers.shell.pool import SLOW_START_MS
from tests.simulation.deployment import HEARTBEAT_MS, OPEN, SESSION_MS, TOOLS
from tests.simulation.history import Attempt, History
from tests.simulation.process import Process
from tests.simulation.provider import Call
from tests.simulation.services import ServiceCall

SESSION_US = SESSION_MS * 1_000
HEARTBEAT_US = HEARTBEAT_MS * 1_000


def calls(history: History) -> Iterator[str]:
    """Compare calls, tasks and results."""
    made: dict[Attempt, list[Call]] = {}
    for call in history.calls:
        made.setdefault((call.task_id, call.attempt), []).append(call)
    for attempt in made:
        if attempt not in history.dispatched:
            yield f"{attempt} was called and never dispatched"
    answered = {(call.task_id, call.attempt) for call in history.calls if call.ended == "ok"}
    for attempt, result in history.first_results.items():
        task = history.dispatched.get(attempt)
        of_model = task is not None and task["pool"] != TOOLS
        if result.get("failure") is None and of_model and attempt not in answered:
            yield f"{attempt} has an answer that the provider never gave"
    for attempt, several in made.items():
        for before, again in pairwise(several):
            if not _excused(history, attempt, before, again):
                yield f"{attempt} was called {_told(before)} and again {_told(again)}"


def _excused(history: History, attempt: Attempt, before: Call, again: Call) -> bool:
    """Return whether nobody could know of a call when it was made again."""
    if history.dispatched[attempt]["pool"] == OPEN:
        return any(came_back(call) for call in (before, again))
    if before.process is again.process:
        return False
    started_us = history.starts.get((*attempt, before.process.name))
    opened_us = history.opened_us(again.process.name, attempt, again.began_us)
    if started_us is not None and opened_us is not None and started_us < opened_us:
        return False
    return (
        before.process.ended_by == "killed"
        or _gone(before.process, before.began_us - SESSION_US, again.began_us)
        or _gone(again.process, before.began_us, again.began_us)
        or any(history.outdated(call.process.name, attempt, call.began_us) for call in (before, again))
    )


def _gone(process: Process, since_us: int, until_us: int) -> bool:
    """Return whether a process stood still or was cut off in a span of time."""
    return any(span.end_us > since_us and span.begin_us < until_us for span in (*process.freezes, *process.cuts))


def came_back(call: Call | ServiceCall) -> bool:
    """Return whether a call began just after its worker had been cut off for longer than a session."""
    return any(
        cut.end_us - cut.begin_us > SESSION_US - HEARTBEAT_US
        and cut.end_us < call.began_us < cut.end_us + SLOW_START_MS * 1_000
        for cut in call.process.cuts
    )


def _told(call: Call) -> str:
    return f"by {call.process.name} at {call.began_us / 1e6:.3f} ({call.ended or 'no end'})"

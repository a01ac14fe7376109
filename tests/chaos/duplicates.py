"""Calls that the provider got once more than it had to, and what was to blame. Pure, from the provider's log.

A call is one too many where its idempotency key was called before, or where it has a good answer and an earlier attempt
of its task had one already; what the provider refuses is tried again in any case. The first happens where a worker
began a task that another had begun; the second where a worker died, or was stopped, before its answer was known to
anybody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Call, Done
from tests.chaos.plan import Act

UNSAID_S = 1.0
"""An answer so young at a worker's death may not have been in the journal yet: in flight for all but the provider."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One call too many."""

    first: Call
    again: Call
    cause: str
    """``kill``, ``pause``, ``roll``, ``scale``, ``broker``, ``orchestrator``, or ``none``."""
    done: Done | None
    """The fault to blame."""

    def __str__(self) -> str:
        blame = self.done.name if self.done else "no fault"
        return (
            f"{self.again.key} at {self.again.began_s:.2f} s by {self.again.caller}: one call too many after "
            f"{self.first.key} of {self.first.caller} ({self.first.began_s:.2f} to {self.first.ended_s:.2f} s); {blame}"
        )


def duplicates(calls: Iterable[Call], done: Sequence[Done]) -> list[Duplicate]:
    """Return every call too many."""
    by_task: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.began_s):
        by_task[call.task_id].append(call)
    found = []
    for tries in by_task.values():
        for number, call in enumerate(tries[1:], start=1):
            first = next((old for old in tries[:number] if old.key == call.key or (old.good and call.good)), None)
            if first is not None:
                found.append(_blamed(first, call, done))
    return found


def in_flight(calls: Iterable[Call], done: Done) -> int:
    """Return how many calls of a fault's workers were in flight when it began."""
    return sum(_in_flight(call, done) for call in calls)


def too_many(found: Sequence[Duplicate], calls: Sequence[Call]) -> Iterator[str]:
    """Yield the duplicates that nothing excuses: those not of calls in flight when a worker was killed or paused."""
    for each in found:
        if each.done is None or each.cause not in (Act.KILL, Act.PAUSE):
            yield str(each)
        elif not _in_flight(each.first, each.done, slack_s=UNSAID_S):
            yield f"{each}; but it was not in flight then"
    blamed = {id(each.done): each.done for each in found if each.done and each.cause in (Act.KILL, Act.PAUSE)}
    for done in blamed.values():
        count = sum(each.done is done for each in found)
        bound = sum(_in_flight(call, done, slack_s=UNSAID_S) for call in calls)
        if count > bound:
            yield f"{done.name} at {done.began_s:.1f} s: {count} calls too many, {bound} were in flight"


def _in_flight(call: Call, done: Done, *, slack_s: float = 0.0) -> bool:
    return call.caller in done.fault.members and call.began_s <= done.began_s <= call.ended_s + slack_s


def _blamed(first: Call, again: Call, done: Sequence[Done]) -> Duplicate:
    """The death or pause of the first caller comes first; then whatever else happened between the two calls."""
    near = [each for each in done if each.began_s <= again.began_s and each.ended_s >= first.began_s]
    own = [each for each in near if first.caller in each.fault.members]
    for acts in ((Act.KILL, Act.PAUSE), (Act.ROLL,)):
        for each in own:
            if each.fault.act in acts and each.began_s >= first.began_s:
                return Duplicate(first, again, each.fault.act.value, each)
    for each in sorted(near, key=lambda each: -each.began_s):
        fault = each.fault
        if fault.role in ("broker", "orchestrator") or fault.act in (Act.ROLL, Act.SCALE):
            cause = fault.role if fault.role in ("broker", "orchestrator") else fault.act.value
            return Duplicate(first, again, cause, each)
    return Duplicate(first, again, "none", None)

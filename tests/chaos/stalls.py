"""How long each partition stood still while work lay on it, and whose fault it was. Pure.

The probes are the heartbeat: one a second for each partition of ``jobs``, each with a task on some partition of its
pool's topic. A partition stands still from the moment at which a probe waits for it, and none of its probes ended, to
the next probe's end. So one that waits in a queue which moves is no stall; how long probes waited is a figure beside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Done, Probe
from tests.chaos.plan import SESSION_S

SLACK_S = 5.0
LIMIT_S = SESSION_S + SLACK_S
BROKER_SESSION_S = 3.0
"""``broker.session.timeout.ms`` of the local broker."""
BROKER_LIMIT_S = BROKER_SESSION_S + 10.0
NO_FAULT = "no fault"


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which a partition stood still."""

    place: str
    """``jobs[2]`` or ``tasks.noop[0]``."""
    seconds: float
    at_s: float
    """When it began."""
    cause: str
    limit_s: float

    def __str__(self) -> str:
        return f"{self.place} stood still for {self.seconds:.1f} s at {self.at_s:.1f} s ({self.cause})"


def stalls(probes: Iterable[Probe], done: Sequence[Done], *, end_s: float) -> list[Stall]:
    """Return the longest stall of each partition, the longest first; what has no outcome waits until the end."""
    places = _by_place(probes).items()
    longest = [max(_stalls(place, there, done, end_s), key=lambda stall: stall.seconds) for place, there in places]
    return sorted(longest, key=lambda stall: -stall.seconds)


def worst_by_fault(probes: Sequence[Probe], done: Sequence[Done], *, end_s: float) -> dict[str, float]:
    """Return the longest stall of each kind of fault, as ``kill orchestrator``."""
    worst: dict[str, float] = {}
    for place, there in _by_place(probes).items():
        for stall in _stalls(place, there, done, end_s):
            worst[stall.cause] = max(worst.get(stall.cause, 0.0), stall.seconds)
    return dict(sorted(worst.items(), key=lambda each: -each[1]))


def longest_wait_s(probes: Iterable[Probe], *, end_s: float) -> float:
    """Return the longest wait of one probe, from its acknowledgement to its outcome."""
    return max((_done_s(probe, end_s) - probe.acknowledged_s for probe in probes), default=0.0)


def too_long(found: Iterable[Stall]) -> Iterator[str]:
    """Yield what is above its limit."""
    for stall in found:
        if stall.seconds > stall.limit_s:
            yield f"{stall}: more than {stall.limit_s:g} s"


def _by_place(probes: Iterable[Probe]) -> dict[str, list[Probe]]:
    places: dict[str, list[Probe]] = defaultdict(list)
    for probe in probes:
        places[f"jobs[{probe.partition}]"].append(probe)
        places[f"tasks.noop[{probe.task_partition}]"].append(probe)
    return places


def _stalls(place: str, probes: Sequence[Probe], done: Sequence[Done], end_s: float) -> Iterator[Stall]:
    """Yield the time before each probe's end in which nothing ended and at least one probe waited."""
    in_turn = sorted(probes, key=lambda probe: _done_s(probe, end_s), reverse=True)
    waiting_since, turns = float("inf"), []
    for probe in in_turn:  # From the last end to the first: who ends at this one or later waited since when?
        waiting_since = min(waiting_since, probe.acknowledged_s)
        turns.append((_done_s(probe, end_s), waiting_since))
    last_s = float("-inf")
    for until_s, since_s in reversed(turns):
        yield _stall(place, max(last_s, since_s), until_s, done)
        last_s = until_s


def _stall(place: str, begin_s: float, until_s: float, done: Sequence[Done]) -> Stall:
    near = [each for each in done if each.began_s < until_s and each.ended_s > begin_s]
    cause = " + ".join(sorted({f"{each.fault.act.value} {each.fault.role}" for each in near})) or NO_FAULT
    return Stall(place, max(0.0, until_s - begin_s), begin_s, cause, _limit_s(near))


def _limit_s(near: Sequence[Done]) -> float:
    """A broker's fault has its own limit; a member's that comes with it is noticed by the next coordinator only.

    Nobody takes over from a member that is alone: what counts is how long after its new start work goes on.
    """
    brokers = {each.fault.number for each in near if each.fault.role == "broker"}
    if not brokers:
        return max([LIMIT_S, *(each.ended_s - each.began_s + SLACK_S for each in near if each.fault.alone)])
    both = any(each.fault.role != "broker" and each.fault.number in brokers for each in near)
    return BROKER_LIMIT_S + (SESSION_S if both else 0.0)


def _done_s(probe: Probe, end_s: float) -> float:
    return probe.done_s if probe.done_s is not None else end_s

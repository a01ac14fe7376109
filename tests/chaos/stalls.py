"""The longest wait on each partition from an acknowledged probe to its outcome, and whose fault it was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Done, Probe
from tests.chaos.plan import SESSION_S

LIMIT_S = SESSION_S + 5.0
BROKER_SESSION_S = 3.0
"""``broker.session.timeout.ms`` of the local broker."""
BROKER_LIMIT_S = BROKER_SESSION_S + 10.0
NO_FAULT = "no fault"


@dataclass(frozen=True, slots=True)
class Stall:
    """One wait."""

    partition: int
    seconds: float
    at_s: float
    """When the probe was acknowledged."""
    cause: str
    limit_s: float

    def __str__(self) -> str:
        return f"partition {self.partition} stood still for {self.seconds:.1f} s at {self.at_s:.1f} s ({self.cause})"


def stalls(probes: Iterable[Probe], done: Sequence[Done], *, end_s: float) -> list[Stall]:
    """Return each partition's longest wait, the longest first; a probe without an outcome waits until the end."""
    longest: dict[int, Probe] = {}
    for probe in probes:
        if probe.partition not in longest or _wait_s(probe, end_s) > _wait_s(longest[probe.partition], end_s):
            longest[probe.partition] = probe
    found = [_stall(probe, done, end_s) for probe in longest.values()]
    return sorted(found, key=lambda stall: -stall.seconds)


def worst_by_fault(probes: Sequence[Probe], done: Sequence[Done], *, end_s: float) -> dict[str, float]:
    """Return the longest wait of each kind of fault, as ``kill orchestrator``."""
    worst: dict[str, float] = {}
    for probe in probes:
        stall = _stall(probe, done, end_s)
        worst[stall.cause] = max(worst.get(stall.cause, 0.0), stall.seconds)
    return dict(sorted(worst.items(), key=lambda each: -each[1]))


def too_long(found: Iterable[Stall]) -> Iterator[str]:
    """Yield what is above its limit."""
    for stall in found:
        if stall.seconds > stall.limit_s:
            yield f"{stall}: more than {stall.limit_s:g} s"


def _stall(probe: Probe, done: Sequence[Done], end_s: float) -> Stall:
    until_s = probe.done_s if probe.done_s is not None else end_s
    near = [each for each in done if each.began_s < until_s and each.ended_s > probe.acknowledged_s]
    causes = sorted({f"{each.fault.act.value} {each.fault.role}" for each in near})
    # Two faults at once: what one delays the other may delay again.
    limit = sum(BROKER_LIMIT_S if role == "broker" else LIMIT_S for role in {each.fault.role for each in near[:2]})
    return Stall(
        probe.partition,
        _wait_s(probe, end_s),
        probe.acknowledged_s,
        " + ".join(causes) or NO_FAULT,
        limit if _together(near) else max((_limit_s(each) for each in near), default=LIMIT_S),
    )


def _limit_s(done: Done) -> float:
    return BROKER_LIMIT_S if done.fault.role == "broker" else LIMIT_S


def _together(near: Sequence[Done]) -> bool:
    kinds = {(each.fault.number, each.fault.act) for each in near}
    return len(near) > 1 and len({number for number, _ in kinds}) == 1 and any(act != "scale" for _, act in kinds)


def _wait_s(probe: Probe, end_s: float) -> float:
    return (probe.done_s if probe.done_s is not None else end_s) - probe.acknowledged_s

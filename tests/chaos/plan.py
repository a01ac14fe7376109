"""The faults of a run: drawn from a seed before anything starts, so that a seed tells the same story twice. Pure.

Every kind of fault is dealt once before any comes a second time. A pause goes only where another member can take
over, and a process without one is started again at once: what nobody could do better is no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Literal

Role = Literal["orchestrator", "http", "noop", "broker"]
"""Who is meant; ``http`` and ``noop`` are workers of these pools."""

SESSION_S = 6.0
"""After so long a silent member's partitions go to others."""
WARM_UP_S = 8.0
GAP_S = 10.0
"""From one fault to the next: most are over within it."""


class Act(StrEnum):
    """What is done."""

    KILL = "kill"
    """SIGKILL, and a new start after `Fault.down_s`."""
    PAUSE = "pause"
    """SIGSTOP for `Fault.down_s`, then SIGCONT."""
    ROLL = "roll"
    """SIGTERM and a new start, one member after the other."""
    SCALE = "scale"
    """Another number of members: `Fault.count`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to the deployment."""

    number: int
    """Faults with the same number are done together."""
    at_s: float
    """When, in seconds from the begin of the load."""
    act: Act
    role: Role
    members: tuple[str, ...] = ()
    """Whom: for a roll all that are there."""
    down_s: float = 0.0
    count: int = 0
    alone: bool = False
    """Whether nobody else of its role was there to take over."""

    def __str__(self) -> str:
        whom = ", ".join(self.members) or self.role
        detail = f" to {self.count}" if self.act is Act.SCALE else f" for {self.down_s:.1f} s" if self.down_s else ""
        return f"{self.at_s:6.1f} s  #{self.number:<3} {self.act.value} {whom}{detail}"


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a deployment is, and what may be done to it."""

    brokers: int = 3
    small: tuple[tuple[Role, int], ...] = (("orchestrator", 1), ("http", 1), ("noop", 1))
    large: tuple[tuple[Role, int], ...] = (("orchestrator", 3), ("http", 4), ("noop", 2))


def member(role: Role, number: int) -> str:
    """Return a member's name; brokers are counted from 1, as Kafka's node ids are here."""
    return f"{role}-{number}"


def node_of(name: str) -> int:
    """Return the number of ``broker-<n>``."""
    return int(name.rpartition("-")[2])


def draw_plan(seed: int, seconds: float, shape: Shape = Shape()) -> tuple[Fault, ...]:
    """Return the faults of a run.

    Args:
        seed: other seeds, other stories.
        seconds: how long the load lasts; the last fault comes early enough to be over by then.
    """
    return tuple(_Dealer(Random(f"plan/{seed}"), seconds, shape).faults())


class _Dealer:
    """Deals faults: a small deployment first, a large one for most of the time, a small one again."""

    def __init__(self, random: Random, seconds: float, shape: Shape) -> None:
        self._random = random
        self._seconds = seconds
        self._shape = shape
        self._sizes: dict[Role, int] = dict(shape.small)
        self._number = 0
        self._at_s = WARM_UP_S

    def faults(self) -> Iterator[Fault]:
        out_at, in_at = 0.12 * self._seconds, 0.85 * self._seconds
        yield from self._deal(self._small_hands(), until_s=out_at)
        yield from self._scale(self._shape.large)
        yield from self._deal(self._large_hands(), until_s=in_at)
        yield from self._scale(self._shape.small)
        yield from self._deal(self._small_hands(), until_s=self._seconds - GAP_S)

    def _deal(self, hands: list[tuple[tuple[Act, Role], ...]], *, until_s: float) -> Iterator[Fault]:
        deck: list[tuple[tuple[Act, Role], ...]] = []
        while self._at_s < until_s:
            deck = deck or self._random.sample(hands, len(hands))
            hand = deck.pop()
            faults = [self._fault(act, role) for act, role in hand]
            yield from faults
            self._next(max(self._takes_s(fault) for fault in faults))

    def _small_hands(self) -> list[tuple[tuple[Act, Role], ...]]:
        return [((Act.KILL, "orchestrator"),), ((Act.KILL, "http"),), ((Act.KILL, "noop"),)]

    def _large_hands(self) -> list[tuple[tuple[Act, Role], ...]]:
        single: list[tuple[Act, Role]] = [(Act.KILL, role) for role in self._sizes]
        single += [(Act.PAUSE, role) for role, size in self._sizes.items() if size > 1]
        single += [(Act.ROLL, role) for role in self._sizes]
        together: list[tuple[tuple[Act, Role], ...]] = [((Act.KILL, "orchestrator"), (Act.KILL, "http"))]
        if self._shape.brokers > 1:
            single += [(Act.KILL, "broker"), (Act.PAUSE, "broker")]
            together.append(((Act.KILL, "broker"), (Act.PAUSE if self._sizes["http"] > 1 else Act.KILL, "http")))
        return [*((hand,) for hand in single), *together]

    def _scale(self, sizes: tuple[tuple[Role, int], ...]) -> Iterator[Fault]:
        changed = [(role, count) for role, count in sizes if count != self._sizes[role]]
        for role, count in changed:  # One role after the other: new processes take CPU that others need.
            yield Fault(self._number, self._at_s, Act.SCALE, role, count=count)
            self._sizes[role] = count
            self._next(GAP_S)

    def _fault(self, act: Act, role: Role) -> Fault:
        if act is Act.ROLL:
            names = tuple(member(role, number) for number in range(self._sizes[role]))
            return Fault(self._number, self._at_s, act, role, names)
        if role == "broker":
            name = member(role, self._random.randint(1, self._shape.brokers))
            low, high = (2.0, 5.0) if act is Act.KILL else (8.0, 10.0)
            return Fault(self._number, self._at_s, act, role, (name,), self._random.uniform(low, high))
        name = member(role, self._random.randrange(self._sizes[role]))
        alone = self._sizes[role] == 1
        return Fault(self._number, self._at_s, act, role, (name,), self._down_s(act, role), alone=alone)

    def _down_s(self, act: Act, role: Role) -> float:
        """Half of the kills are noticed by the group, half come back before it does."""
        long = self._random.uniform(SESSION_S + 2.0, SESSION_S + 4.0)
        short = self._random.uniform(0.3, 1.5)
        draw = self._random.random()
        return long if act is Act.PAUSE or (self._sizes[role] > 1 and draw < 0.5) else short

    def _takes_s(self, fault: Fault) -> float:
        """Return how long until the next fault may come."""
        rolls = 4.0 * len(fault.members) if fault.act is Act.ROLL else 0.0
        return max(GAP_S, fault.down_s + 8.0, rolls + 4.0)

    def _next(self, takes_s: float) -> None:
        self._at_s += takes_s + self._random.uniform(0.0, 3.0)
        self._number += 1

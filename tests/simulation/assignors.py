"""How partitions are dealt to members: ``range`` and ``cooperative-sticky``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.groups import Member

Place = tuple[str, int]
"""A topic and a partition."""


def assign(members: list[Member], partition_count: Callable[[str], int]) -> dict[str, tuple[Place, ...]]:
    """Return the partitions of each member, by its id."""
    found: dict[str, list[Place]] = {member.member_id: [] for member in members}
    topics = dict.fromkeys(topic for member in members for topic in member.topics)
    deal = _sticky if members[0].strategy == "cooperative-sticky" else _range
    for topic in sorted(topics):
        deal([m for m in members if topic in m.topics], topic, partition_count(topic), found)
    return {member_id: tuple(places) for member_id, places in found.items()}


def _range(members: list[Member], topic: str, count: int, found: dict[str, list[Place]]) -> None:
    ordered = sorted(members, key=lambda m: m.instance or m.member_id)
    share, more = divmod(count, len(ordered))
    start = 0
    for number, member in enumerate(ordered):
        size = share + (number < more)
        found[member.member_id] += [(topic, p) for p in range(start, start + size)]
        start += size


def _sticky(members: list[Member], topic: str, count: int, found: dict[str, list[Place]]) -> None:
    """Keep what fits a fair share; deal the rest; what another member still owns is given only after it let go."""
    claims = {place: m.member_id for m in members for place in m.owned if place[0] == topic}
    share, more = divmod(count, len(members))
    quota = {m.member_id: share for m in members}
    by_owned = sorted(members, key=lambda m: -sum(owner == m.member_id for owner in claims.values()))
    for member in by_owned[:more]:
        quota[member.member_id] += 1
    rest: list[Place] = []
    for p in range(count):
        owner = claims.get((topic, p))
        if owner is not None and quota[owner] > 0:
            quota[owner] -= 1
            found[owner].append((topic, p))
        else:
            rest.append((topic, p))
    for place in rest:
        taker = next(m.member_id for m in members if quota[m.member_id] > 0)
        quota[taker] -= 1
        if place not in claims:
            found[taker].append(place)

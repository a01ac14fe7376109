"""Guarantee 5: what cannot be read is set aside with its cause and origin, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.schemas.codec import header_map
from tests.simulation.history import History, as_object
from tests.simulation.signals import LETTERS

EXPECTED = frozenset({"job_conflict", "unknown_job", "exhausted", "quarantined"}) | LETTERS
"""Reasons that the workload brings about by itself."""


def letters(history: History) -> Iterator[str]:
    """Look at ``dead-letters``, and for what should be there."""
    garbage = set(history.chaos.garbage)
    origins = set()
    for letter in history.letters:
        origin = (letter["origin"]["topic"], letter["origin"]["partition"], letter["origin"]["offset"])
        origins.add(origin)
        if origin not in garbage and letter["reason"] not in EXPECTED and not _forwarded(history, origin, garbage):
            yield f"{origin} was set aside as {letter['reason']}: {letter['message'][:200]}"
    for place in history.chaos.garbage:
        if place[0] != history.topics.control and place not in origins and not _taken(history, place):
            yield f"{place} cannot be read, and nobody set it aside"


def _forwarded(history: History, origin: tuple[str, int, int], garbage: set[tuple[str, int, int]]) -> bool:
    """Return whether a record is garbage that was sent home first."""
    topic, partition, offset = origin
    entry = history.cluster.log(topic, partition).entries[offset]
    came_from = header_map(entry.headers() if entry else None).get("x-forwarded-from", "")
    if not came_from:
        return False
    before = came_from.split(":")
    return (topic, int(before[0]), int(before[1])) in garbage


def _taken(history: History, place: tuple[str, int, int]) -> bool:
    """Return whether a submission that breaks the contract was rejected under its id, or sent home.

    A result of such a job comes too late, which is nothing to be set aside.
    """
    topic, partition, offset = place
    entry = history.cluster.log(topic, partition).entries[offset]
    assert entry is not None
    if topic == history.topics.results:
        return as_object(entry).get("job_id") in history.outcomes
    if topic != history.topics.jobs:
        return False
    ids = {as_object(entry).get("job_id"), (entry.key() or b"").decode("utf-8", "replace"), f"j-{partition}-{offset}"}
    sent_home = f"{partition}:{offset}"
    forwarded = (header_map(each.headers()).get("x-forwarded-from") for each in history.visible(topic))
    return not ids.isdisjoint(history.outcomes) or sent_home in forwarded

"""Are objects kept longer than the records that refer to them? Pure: compares numbers, asks nobody."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.runtime.objects import refresh_after_s
from headrace.runtime.settings import Settings

REFERRING = ("jobs", "tasks", "results", "outcomes", "attempts", "dead-letters")
"""Kinds of topics whose records may refer to objects."""


def topic_retentions(settings: Settings) -> dict[str, int]:
    """Return how long the topics that refer to objects are meant to keep their records: milliseconds, by kind.

    The broker may have other values (`headrace topics plan` shows them); a check at start passes those in.
    """
    found: dict[str, int] = {}
    names = settings.topic_names
    for spec in names.catalogue(["any"]):
        kind = spec.name.removeprefix(f"{names.prefix}.").partition(".")[0]
        if kind in REFERRING:
            found[kind] = settings.topics.retention_ms.get(kind, int(spec.config.get("retention.ms", "-1")))
    return found


def retention_problems(
    objects_s: float, topics_ms: Mapping[str, int], *, markers_s: float, name: str = "objects.retention_s"
) -> list[str]:
    """Return what would outlive the objects that it refers to, each with both numbers; empty where nothing does.

    Args:
        objects_s: how long objects are kept.
        topics_ms: by kind of topic, how long it keeps records in milliseconds; negative: for ever.
        markers_s: ``orchestrator.retention_s``: how long a finished job answers with its outcome.
        name: where `objects_s` stands, for messages.
    """
    # Content that was written a while ago is taken as it lies, so that much of its time may be over already.
    kept_s = objects_s - 2 * refresh_after_s(objects_s)
    own, margin = f"{name} {objects_s:,.0f} s ({_days(objects_s)})", _days(objects_s - kept_s)
    problems = []
    for kind, topic_ms in topics_ms.items():
        if topic_ms < 0:
            problems.append(f"{own} cannot outlast topic {kind}, which keeps its records for ever")
        elif topic_ms / 1000 > kept_s:
            topic = f"the {topic_ms / 1000:,.0f} s ({_days(topic_ms / 1000)}) that topic {kind} keeps its records"
            problems.append(f"{own} must be above {topic}, by {margin} at least")
    if markers_s > kept_s:
        markers = f"orchestrator.retention_s {markers_s:,.0f} s ({_days(markers_s)})"
        problems.append(f"{own} must be above {markers}, by {margin} at least")
    return problems


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.3g} d"

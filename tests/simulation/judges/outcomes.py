"""Guarantee 1: every accepted job has exactly one outcome; repetitions are the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.schemas.codec import header_map
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import JobStatus, Outcome
from tests.simulation.history import History


def outcomes(history: History) -> Iterator[str]:
    """Look at ``outcomes``."""
    partitions = history.cluster.partition_count(history.topics.outcomes)
    for job_id in history.submissions:
        if job_id not in history.outcomes:
            yield f"{job_id} has no outcome"
    for job_id, records in history.outcomes.items():
        first = [entry for entry, repeat in records if not repeat]
        if len(first) != 1:
            yield f"{job_id} has {len(first)} outcomes that are not repetitions"
        if len({entry.value() for entry, _ in records}) > 1:
            yield f"{job_id} has outcomes of different content"
        for entry, _ in records:
            if (ce_id := header_map(entry.headers())["ce_id"]) != f"{job_id}/outcome":
                yield f"{job_id} has an outcome under the id {ce_id}"
            if entry.partition() != home_partition(job_id, partitions):
                yield f"{job_id} has an outcome on partition {entry.partition()}, which is not its home"
    yield from _contents(history)


def _contents(history: History) -> Iterator[str]:
    """A job's output is made of its own items and nothing else's."""
    for job_id, records in history.outcomes.items():
        outcome = Outcome.model_validate_json(records[0][0].value() or b"")
        if outcome.status is not JobStatus.SUCCEEDED or job_id not in history.submissions:
            continue
        items = [item for each in history.submissions[job_id] for item in history.items_of(each)]
        own = {word for item in items for word in item.split() if word.startswith("job-")}
        values = outcome.output if isinstance(outcome.output, list) else [outcome.output]
        words = [word for value in values if isinstance(value, str) for word in value.split()]
        if foreign := [word for word in words if word.startswith("job-") and word not in own]:
            yield f"{job_id} has an output that is not its own: {foreign[:3]}"

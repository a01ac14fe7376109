"""An orchestrator without Kafka that meets hostile records: `tests.instance`, with the corpus's workflow and pool."""

from __future__ import annotations

from typing import Any

import yaml

from headrace.runtime.kafka import headers_of
from tests.hostile.bad import Bad
from tests.hostile.bounds import bounded
from tests.hostile.corpus_results import VICTIM
from tests.hostile.good import INPUT, PART, STORED
from tests.hostile.messages import CorpusMessage
from tests.instance import TOPICS, Instance
from tests.orchestrators import ONE
from tests.world import POOLS, World

GOOD = b'{"workflow":"one","input":{"who":"you"}}'


def made(*stored: bytes, **fields: Any) -> Instance:
    """Return an orchestrator that knows the workflow `one` and the pool `noop`.

    Args:
        stored: what lies in the object store.
    """
    world = World(workflows={"one": yaml.safe_load(ONE)}, pools={**POOLS, "noop": POOLS["small"]})
    for content in (STORED, INPUT, PART, *stored):
        world.keep(content)
    return Instance(world.environment, pools=("noop", "small"), objects=world, **fields)


def after(bad: Bad, topic: str, *, victim: bool = False) -> Instance:
    """Return an orchestrator that has read the input; ``victim``: with a job that waits for its result."""
    headers = headers_of(CorpusMessage(bad, topic=topic))

    def run() -> Instance:
        instance = made()
        if victim:
            instance.read(TOPICS.jobs, VICTIM.encode(), GOOD)
        instance.read(topic, bad.key, bad.value, headers)
        return instance

    return bounded(bad, run)


def check_goes_on(instance: Instance, job_id: str = "good") -> None:
    records = instance.read(TOPICS.jobs, job_id.encode(), GOOD)
    assert any(".tasks." in record.topic for record in records), "the next job runs"

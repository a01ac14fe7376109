"""While workers stand still they get something to begin with at once."""

from __future__ import annotations

import json

from headrace.orchestrator.core import machine
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.window import FIRST, DispatchWindow
from headrace.orchestrator.shell.batch import Batch
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.intake import Intake
from headrace.runtime.letters import Source
from tests.instance import NOW_MS, TOPICS, Instance
from tests.world import World

STEP = {
    "for_each": "{{ input.items }}",
    "max_in_flight": 2_000,
    "llm": {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8},
}
WORKFLOW = {"name": "w", "version": 1, "steps": {"each": STEP}, "output": "{{ each }}"}


def test_the_first_batch_of_tasks_is_small_and_the_next_ones_are_full() -> None:
    made = Instance(World().environment)
    decider = Decider(
        machine,
        intake=Intake(partitions=1, content_hash=submission_hash, jitter=lambda: 0.0),
        encoder=made.encoder,
        window=DispatchWindow(4_096),
        partitions={0: made.partition},
        topics=TOPICS,
        by="o-1",
        max_markers=10,
        now_ms=lambda: NOW_MS,
        jitter=lambda: 0.0,
    )
    submission = json.dumps({"job_id": "a", "workflow": WORKFLOW, "input": {"items": list(range(3_000))}}).encode()
    sizes = []
    for number in range(4):
        batch = Batch()
        if not number:
            decider.take(batch, Source(TOPICS.jobs, 0, 0, b"a", submission), NOW_MS)
        full = decider.deal(batch, 1_000)
        sizes.append((batch.dispatched, full))
        made.commit(batch)
    assert sizes == [(FIRST, True), (1_000, True), (2_000 - 1_000 - FIRST, False), (0, False)]

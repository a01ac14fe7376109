"""Tasks that nobody will answer, on a real broker: waiting is not failing; done without a result is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from headrace.runtime.kafka import group_config
from headrace.schemas.messages import Lane, Task
from tests.orchestrators import Site, site, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

QUICK = """
import os
os.environ["HEADRACE_ORCHESTRATOR__LOST_GRACE_S"] = "1"
"""
BRIEF = {
    "name": "brief",
    "version": 1,
    "steps": {"say": {"llm": {"pool": "noop", "prompt": "hello {{ input.who }}"}, "timeout_s": 1}},
}


@pytest.fixture
def here(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Iterator[Site]:
    with site(bootstrap_servers, topic_prefix, tmp_path) as made:
        yield made


def wait_for_tasks(here: Site, count: int, timeout_s: float = 30.0) -> list[Task]:
    found: list[Task] = []

    def there() -> bool:
        found[:] = here.tasks()
        return len(found) >= count

    wait_until(there, f"{count} tasks", timeout_s)
    return found


def commit_all(here: Site) -> None:
    """Commit as a worker does whose result never arrived."""
    names = here.settings.topic_names
    config = group_config(here.settings, "test", names.worker_group("noop"), instance=None, assignor="range")
    consumer = Consumer(config)
    topic = names.tasks("noop", Lane.BATCH)
    places = [TopicPartition(topic, p) for p in range(here.settings.topics.task_partitions)]
    ends = [TopicPartition(topic, at.partition, consumer.get_watermark_offsets(at, timeout=10)[1]) for at in places]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()


@pytest.mark.parametrize("after_take_over", [False, True])
def test_a_task_whose_offset_is_done_without_a_result_gets_another_attempt_and_one_that_waits_does_not(
    here: Site, after_take_over: bool
) -> None:
    process = here.start("a", script=QUICK)
    here.submit("brief-1", BRIEF)
    wait_for_tasks(here, 1)
    if after_take_over:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        here.start("a", script=QUICK)
        here.wait_for_log("a", "partitions.taken_over", times=2)
    time.sleep(8)
    assert len(here.tasks()) == 1, "nobody has taken it: it waits"
    commit_all(here)
    second = next(task for task in wait_for_tasks(here, 2, 25) if task.attempt == 2)
    here.answer(second)
    outcome = here.wait_for_outcome("brief-1")
    assert outcome["status"] == "succeeded"
    assert outcome["receipt"]["unconfirmed"]["attempts"] == 1
    assert outcome["receipt"]["duplicated"] == 1

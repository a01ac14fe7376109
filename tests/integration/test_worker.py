"""Workers on a real broker: nothing is lost, nothing is called twice without need, and lag reaches 0."""

from __future__ import annotations

import signal
import time

import pytest

from headrace.schemas.codec import encode, header_map, schema_headers
from headrace.schemas.completed import decode as decode_spans
from headrace.schemas.completed import progress_of
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Control, Lane, Task
from tests.integration.worker_fixtures import PARTITIONS, World, ask, counts, headers_of, provider, task, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@pytest.fixture
def world(bootstrap_servers, topic_prefix, tmp_path):
    made = World(bootstrap_servers, topic_prefix, tmp_path)
    yield made
    made.close()


def test_every_task_of_both_lanes_is_answered_on_its_reply_partition_with_its_trace(world):
    tasks = [task(number, lane=Lane.INTERACTIVE if number % 5 == 0 else Lane.BATCH) for number in range(500)]
    world.produce(tasks)
    world.worker(world.pools_file())
    by_task = world.results(500)
    assert counts(by_task) == {1: 500}
    assert {one.task_id for one in tasks} == set(by_task)
    assert by_task["j-1/notes/7"][0].output == "task 7"
    assert by_task["j-1/notes/7"][0].cost_microusd == 6
    for message in world.read(world.topics.results, lambda found: len(found) >= 500):
        headers = header_map(message.headers())
        assert int(headers["x-task-id"].rpartition("/")[2]) % PARTITIONS == message.partition()
        assert message.key() == b"j-1"
        assert headers["traceparent"].startswith("00-4bf92f3577b34da6")
    world.wait_for_no_lag(Lane.BATCH)
    world.wait_for_no_lag(Lane.INTERACTIVE)


def test_lag_reaches_0_past_the_markers_of_committed_and_aborted_transactions(world):
    world.produce([task(number) for number in range(200)], batches=10)
    world.worker(world.pools_file())
    by_task = world.results(200)
    assert "j-1/ghost/0" not in by_task
    world.wait_for_no_lag()
    for offset, _, metadata in world.offsets().values():
        assert decode_spans(offset, metadata) == []
        assert progress_of(offset, metadata).in_flight == 0


@pytest.mark.slow
def test_a_worker_stopped_by_sigterm_leaves_nothing_undone_and_no_call_is_made_twice(world, tmp_path):
    script = "latency: {law: uniform, low_ms: 20, high_ms: 400}"
    with provider(tmp_path, script) as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=16)
        world.produce([task(number) for number in range(300)], batches=3)
        first = world.worker(pools)
        wait_until(lambda: ask(base_url, "/stats")["calls"] > 60, "the first worker works")
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0, world.logs_tail()
        assert "worker.stopped" in world.log_of(0)
        made = ask(base_url, "/stats")["calls"]
        assert 60 < made < 300
        world.worker(pools)
        by_task = world.results(300)
        stats = ask(base_url, "/stats")
    assert counts(by_task) == {1: 300}
    assert (stats["calls"], stats["repeated_keys"]) == (300, 0)
    world.wait_for_no_lag()


@pytest.mark.slow
def test_two_workers_share_and_when_one_leaves_gracefully_no_call_is_made_twice(world, tmp_path):
    with provider(tmp_path, "latency: {law: uniform, low_ms: 20, high_ms: 300}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=8)
        first = world.worker(pools)
        world.produce([task(number) for number in range(400)])
        wait_until(lambda: ask(base_url, "/stats")["calls"] > 30, "the first worker works")
        world.worker(pools)
        wait_until(lambda: "attempt.finished" in world.log_of(1), "the second worker takes its share")
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        by_task = world.results(400)
        stats = ask(base_url, "/stats")
    assert counts(by_task) == {1: 400}
    assert stats["repeated_keys"] == 0
    world.wait_for_no_lag()


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing_and_what_was_committed_is_not_called_again(world, tmp_path):
    with provider(tmp_path, "latency: {law: uniform, low_ms: 20, high_ms: 400}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=16)
        world.produce([task(number) for number in range(300)])
        first = world.worker(pools)
        wait_until(lambda: ask(base_url, "/stats")["calls"] > 100, "the first worker works")
        first.kill()
        first.wait()
        world.worker(pools)
        by_task = world.results(300)
        stats = ask(base_url, "/stats")
    # In flight at the kill, and what ended within the last commit interval and its answer's way.
    assert stats["repeated_keys"] <= 16 * 3
    assert len(by_task) == 300
    world.wait_for_no_lag()


def test_calls_that_outlast_the_drain_are_answered_interrupted(world, tmp_path):
    with provider(tmp_path, "faults: [{kind: stall}]") as base_url:
        world.produce([task(number) for number in range(4)])
        worker = world.worker(world.pools_file(base_url=base_url), HEADRACE_WORKER__DRAIN_TIMEOUT_S="0.5")
        wait_until(lambda: ask(base_url, "/stats")["calls"] == 4, "all calls run")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
        by_task = world.results(4)
    assert {one.failure.kind for (one,) in by_task.values()} == {ErrorKind.INTERRUPTED}
    world.wait_for_no_lag()


def test_a_second_signal_exits_at_once(world, tmp_path):
    with provider(tmp_path, "faults: [{kind: stall}]") as base_url:
        world.produce([task(1)])
        worker = world.worker(world.pools_file(base_url=base_url))
        wait_until(lambda: ask(base_url, "/stats")["calls"] == 1, "the call runs")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "worker.draining" in world.log_of(0), "it drains")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == 143


def test_a_task_that_cannot_be_read_is_dead_lettered_and_answered_and_its_partition_goes_on(world):
    topic = world.topics.tasks("small", Lane.BATCH)
    bad, good = task(1, reply_partition=2), task(2)
    world.write_raw(topic, b"{not json", key=b"k", partition=0, headers=headers_of(bad))
    world.write_raw(topic, b'{"task_id": 3}', partition=0)
    newer = [*schema_headers(Task)[:1], ("x-schema-version", b"99"), *headers_of(task(5))[2:]]
    world.write_raw(topic, encode(task(5)), partition=0, headers=newer)
    world.write_raw(topic, None, partition=0, headers=headers_of(task(6)))
    lost = task(7, reply_partition=77)
    world.write_raw(topic, encode(lost), partition=0, headers=headers_of(lost))
    world.write_raw(topic, encode(good), partition=0, headers=headers_of(good))
    world.worker(world.pools_file())
    by_task = world.results(4)
    letters = {one.reason: one for one in world.dead_letters(5)}
    assert set(letters) == {"invalid_json", "invalid_shape", "unknown_version", "no_value", "wrong_partition"}
    assert letters["invalid_json"].job_id == "j-1"
    assert letters["invalid_json"].origin.offset == 0
    kinds = {name: found[0].failure.kind if found[0].failure else None for name, found in by_task.items()}
    expected = {f"j-1/notes/{number}": ErrorKind.INTERNAL for number in (1, 5, 6)}
    assert kinds == {**expected, "j-1/notes/2": None}
    world.wait_for_no_lag()


def test_tasks_of_a_cancelled_job_are_answered_without_a_call_and_its_running_calls_are_closed(world, tmp_path):
    with provider(tmp_path, "rules: [{match: slow, faults: [{kind: stall}]}]") as base_url:
        control = schema_headers(Control)
        order = encode(Control(subject="job/j-2", action="cancel", at_ms=1))
        world.write_raw(world.topics.control, order, key=b"job/j-2", headers=control)
        slow = task(9, job="j-3").model_copy(update={"call": task(9).call})
        slow = slow.model_copy(
            update={
                "call": slow.call.model_copy(
                    update={"messages": (slow.call.messages[0].model_copy(update={"content": "slow"}),)}
                )
            }
        )
        world.produce([*(task(number, job="j-2") for number in range(20)), slow, task(1)])
        world.worker(world.pools_file(base_url=base_url))
        wait_until(lambda: ask(base_url, "/stats")["calls"] == 2, "the slow call runs and the good one is done")
        world.write_raw(
            world.topics.control,
            encode(Control(subject="job/j-3", action="cancel", at_ms=1)),
            key=b"job/j-3",
            headers=control,
        )
        by_task = world.results(22)
        stats = ask(base_url, "/stats")
    cancelled = {name for name, (one,) in by_task.items() if one.failure and one.failure.kind is ErrorKind.CANCELLED}
    assert cancelled == {f"j-2/notes/{number}" for number in range(20)} | {"j-3/notes/9"}
    assert stats["calls"] == 2
    world.wait_for_no_lag()


def test_a_worker_without_its_topics_says_which_are_missing_and_exits_3(bootstrap_servers, topic_prefix, tmp_path):
    world = World.__new__(World)
    world.servers, world.prefix, world.folder, world.pool, world.processes = (
        bootstrap_servers,
        topic_prefix,
        tmp_path,
        "small",
        [],
    )
    worker = world.worker(world.pools_file(), HEADRACE_KAFKA__CONNECT_TIMEOUT_S="1")
    assert worker.wait(20) == 3
    text = world.log_of(0)
    assert f"{topic_prefix}.tasks.small.batch" in text
    assert "headrace topics apply" in text
    assert "Traceback" not in text


def test_a_closed_endpoint_is_a_warning_and_its_calls_fail_as_network(world):
    world.produce([task(1)])
    world.worker(world.pools_file(base_url="http://127.0.0.1:9/v1"))
    by_task = world.results(1)
    assert by_task["j-1/notes/1"][0].failure.kind is ErrorKind.NETWORK
    assert "endpoint.unreachable" in world.log_of(0)


def test_a_lone_task_passes_through_a_worker_in_milliseconds(world):
    world.worker(world.pools_file())
    world.produce([task(0)])
    world.results(1)
    took = []
    for number in range(1, 21):
        time.sleep(0.02)
        started = time.time() * 1_000
        world.produce([task(number, dispatched_at_ms=int(started))])
    messages = world.read(world.topics.results, lambda found: len(found) >= 21)
    written = {header_map(one.headers())["x-task-id"]: one.timestamp()[1] for one in messages}
    sent = {
        header_map(one.headers())["x-task-id"]: one.timestamp()[1]
        for one in world.read(world.topics.tasks("small", Lane.BATCH), lambda found: len(found) >= 21)
    }
    took = sorted(written[name] - sent[name] for name in sent)
    assert took[len(took) // 2] < 25, took

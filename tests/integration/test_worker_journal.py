"""The journal and what outlives a rebalance, on a real broker: no call is made twice under one attempt."""

from __future__ import annotations

import json
import signal
import time

import pytest

from headrace.runtime.lag import pool_lag
from headrace.schemas.codec import schema_headers
from headrace.schemas.completed import progress_of
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Attempt, Lane
from tests.integration.worker_fixtures import World, ask, counts, provider, task, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

both_protocols = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@pytest.fixture
def world(bootstrap_servers, topic_prefix, tmp_path):
    made = World(bootstrap_servers, topic_prefix, tmp_path)
    yield made
    made.close()


def speak(protocol: str, **env: str) -> dict[str, str]:
    return {"HEADRACE_KAFKA__GROUP_PROTOCOL": protocol, **env}


def test_each_call_leaves_its_start_and_its_end_on_the_partition_of_its_task(world, tmp_path):
    tasks = [task(number, tenant="t1", workflow="w@1", template_hash="abc") for number in range(30)]
    with provider(tmp_path) as base_url:
        world.produce(tasks)
        world.worker(world.pools_file(base_url=base_url))
        by_task = world.results(30)
    world.wait_for_no_lag()
    lay = {
        one.key().decode(): (one.partition(), one.offset())
        for one in world.read(world.topics.tasks("small", Lane.BATCH), lambda found: len(found) >= 30)
    }
    phases: dict[str, list[Attempt]] = {}
    for message, note in world.journal():
        assert message.key().decode() == note.task_id
        assert (message.partition(), note.offset) == lay[note.task_id]
        assert note.lane is Lane.BATCH
        assert (note.job_id, note.tenant, note.workflow, note.template_hash) == ("j-1", "t1", "w@1", "abc")
        phases.setdefault(note.task_id, []).append(note)
    assert set(phases) == set(by_task)
    for task_id, (started, ended) in phases.items():
        assert (started.phase, ended.phase) == ("started", "ended")
        assert started.until_ms == started.at_ms + 20_000
        assert started.result is None
        assert [ended.result] == by_task[task_id]


def test_an_answer_in_process_leaves_its_end_only(world):
    world.produce([task(number) for number in range(50)])
    world.worker(world.pools_file())
    by_task = world.results(50)
    world.wait_for_no_lag()
    assert [note.phase for _, note in world.journal()] == ["ended"] * 50
    assert all([note.result] == by_task[note.task_id] for _, note in world.journal())


def test_what_was_answered_and_not_committed_is_answered_from_the_journal_without_a_call(world, tmp_path):
    with provider(tmp_path) as base_url:
        pools = world.pools_file(base_url=base_url)
        first = world.worker(pools, HEADRACE_WORKER__COMMIT_INTERVAL_MS="10000")
        wait_until(
            lambda: "partition.opened" in world.log_of(0) or "partitions.assigned" in world.log_of(0), "it reads"
        )
        world.produce([task(number) for number in range(40)])
        before = world.results(40)
        first.kill()
        first.wait()
        for partition in range(4):
            # What a stranger writes there, and what is broken, stops nothing.
            journal = world.topics.attempts("small")
            world.write_raw(journal, b"{not json", key=b"k", partition=partition)
            world.write_raw(journal, None, partition=partition, headers=schema_headers(Attempt))
        world.worker(pools)
        wait_until(lambda: len(world.everything(world.topics.results)) >= 80, "all are answered again")
        by_task = world.results(40, of=world.everything(world.topics.results))
        stats = ask(base_url, "/stats")
    assert stats["calls"] == 40
    assert counts(by_task) == {2: 40}
    for task_id, (first_answer, second_answer) in by_task.items():
        assert [first_answer] == before[task_id]
        assert second_answer == first_answer.model_copy(update={"journalled": True})
    assert world.log_of(1).count("journal.unread") == 8
    world.wait_for_no_lag()


@pytest.mark.slow
@both_protocols
def test_calls_that_a_kill_interrupts_are_answered_so_and_never_made_again_under_the_same_attempt(
    world, tmp_path, protocol
):
    with provider(tmp_path, "latency: {law: uniform, low_ms: 200, high_ms: 800}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=16)
        tasks = [task(number) for number in range(300)]
        first = world.worker(pools, **speak(protocol))
        world.worker(pools, **speak(protocol))
        world.produce(tasks)
        wait_until(lambda: ask(base_url, "/stats")["calls"] > 60, "they work")
        wait_until(lambda: "attempt.finished" in world.log_of(0), "the first worker has its share")
        first.kill()
        first.wait()
        by_task = world.play_orchestrator(tasks)
        stats = ask(base_url, "/stats")
    interrupted = [one for found in by_task.values() for one in found if one.failure]
    assert {(one.failure.kind, one.cause, one.unconfirmed) for one in interrupted} == {
        (ErrorKind.INTERRUPTED, "kill", True)
    }
    assert 1 <= len(interrupted) <= 16
    assert stats["calls"] - stats["distinct_keys"] == 0
    answered = [one for found in by_task.values() for one in found if one.failure is None]
    assert len({(one.task_id, one.attempt) for one in answered}) == 300
    world.wait_for_no_lag()


@pytest.mark.slow
@both_protocols
def test_calls_that_outlive_a_scale_out_are_finished_by_the_worker_that_began_them(world, tmp_path, protocol):
    with provider(tmp_path, "latency: {law: fixed, ms: 12000}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=16)
        world.produce([task(number) for number in range(16)])
        first = world.worker(pools, **speak(protocol, HEADRACE_WORKER__REVOKE_WAIT_S="0.2"))
        wait_until(lambda: ask(base_url, "/stats")["calls"] == 16, "all calls run")
        world.worker(pools, **speak(protocol))
        wait_until(lambda: "calls.handed_over" in world.log_of(0), "the first worker hands over")
        handed = sum(
            progress_of(offset, metadata).handed_over
            for lane in Lane
            for offset, _, metadata in world.offsets(lane).values()
        )
        assert handed == sum(line["tasks"] for line in world.events(0, "calls.handed_over")) > 0
        (lag,) = [one for one in pool_lag(world.admin, world.topics, ["small"]) if one.lane == "batch"]
        assert (lag.waiting, lag.in_flight) == (0, 16)
        by_task = world.results(16)
        stats = ask(base_url, "/stats")
        assert first.poll() is None
    assert counts(by_task) == {1: 16}
    assert all(found[0].failure is None for found in by_task.values())
    assert len({found[0].worker for found in by_task.values()}) == 1, "the first worker answers all"
    assert (stats["calls"], stats["repeated_keys"]) == (16, 0)
    world.wait_for_no_lag()


@pytest.mark.slow
def test_a_worker_that_sleeps_past_its_session_starts_nothing_that_others_own(world, tmp_path):
    with provider(tmp_path, "latency: {law: fixed, ms: 300}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=4)
        tasks = [task(number) for number in range(150)]
        sleeper = world.worker(pools)
        world.produce(tasks)
        wait_until(lambda: ask(base_url, "/stats")["calls"] > 10, "the first worker works")
        sleeper.send_signal(signal.SIGSTOP)
        world.worker(pools)
        wait_until(lambda: "attempt.finished" in world.log_of(1), "the second worker takes over")
        sleeper.send_signal(signal.SIGCONT)
        by_task = world.play_orchestrator(tasks)
        wait_until(lambda: "partitions.lost" in world.log_of(0), "the sleeper learns of it")
        stats = ask(base_url, "/stats")
    assert stats["repeated_keys"] == 0
    assert len(by_task) == 150
    world.wait_for_no_lag()


@pytest.mark.slow
@both_protocols
def test_calls_longer_than_the_poll_interval_survive_three_rebalances_and_are_made_once(world, tmp_path, protocol):
    options = json.dumps({"max.poll.interval.ms": 10_000})
    env = speak(protocol, HEADRACE_KAFKA__OPTIONS=options, HEADRACE_WORKER__DRAIN_TIMEOUT_S="40")
    with provider(tmp_path, "latency: {law: fixed, ms: 25000}") as base_url:
        pools = world.pools_file(base_url=base_url, concurrency=12)
        world.produce([task(number, timeout_ms=60_000) for number in range(12)])
        steady = world.worker(pools, **env)
        wait_until(lambda: ask(base_url, "/stats")["calls"] == 12, "all calls run")
        began = time.monotonic()
        second = world.worker(pools, **env)
        wait_until(lambda: "partitions.assigned" in world.log_of(1), "a worker joins", timeout_s=15)
        time.sleep(1)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
        world.worker(pools, **env)
        wait_until(lambda: "partitions.assigned" in world.log_of(2), "another one joins", timeout_s=15)
        assert time.monotonic() - began < 25, "three rebalances while the calls run"
        by_task = world.results(12)
        stats = ask(base_url, "/stats")
        assert steady.poll() is None
    assert "partitions.lost" not in world.log_of(0)
    assert world.log_of(0).count("partitions.revoked") >= 2
    assert counts(by_task) == {1: 12}
    assert all(found[0].failure is None for found in by_task.values())
    assert (stats["calls"], stats["repeated_keys"]) == (12, 0)
    world.wait_for_no_lag()
    assert world.journal_phases() == {"started": 12, "ended": 12}

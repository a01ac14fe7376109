"""A deployment of real processes, seen through its topics alone: any client, bad input, lag, transactions."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.deployment import Deployment, deployment
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from pydantic import SecretStr

from headrace.console.client import HeadraceClient
from headrace.runtime.kafka import admin_client, reader_config
from headrace.runtime.lag import pool_lag
from headrace.runtime.local_kafka import LocalKafka
from headrace.runtime.local_kafka_scram import ScramUser, client_options
from headrace.schemas.codec import header_map
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import JobStatus, Lane

pytestmark = pytest.mark.broker

PARTITIONS = 12
ONE: dict[str, Any] = {
    "name": "one",
    "version": 1,
    "input": {"type": "object", "required": ["word"], "properties": {"word": {"type": "string"}}},
    "steps": {"answer": {"llm": {"pool": "noop", "prompt": "{{ input.word }}"}}},
}
SLOW = {**ONE, "steps": {"answer": {"llm": {"pool": "http", "prompt": "{{ input.word }}"}}}}
FAN: dict[str, Any] = {
    "name": "fan",
    "version": 1,
    "steps": {"work": {"for_each": "{{ input.items }}", "llm": {"pool": "noop", "prompt": "{{ item }}"}}},
    "output": "{{ work | length }}",
}


@pytest.fixture(scope="module")
def here(bootstrap_servers: str) -> Iterator[Deployment]:
    script = {"latency": {"ms": 3_000}}
    workers = {"noop": 1, "http": 1}
    with deployment(workers=workers, provider=True, script=script, servers=bootstrap_servers) as running:
        yield running


def read_all(here: Deployment, topic: str) -> list[Message]:
    """Read what is committed on every partition of a topic."""
    consumer = Consumer(reader_config(here.settings, "test"))
    try:
        count = len(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
        found, ended = [], set()
        deadline = time.monotonic() + 20
        while len(ended) < count and time.monotonic() < deadline:
            for message in consumer.consume(2_000, 0.2):
                if message.error() is None:
                    found.append(message)
                else:
                    ended.add(message.partition())
        return found
    finally:
        consumer.close()


def outcomes_of(here: Deployment, job_id: str) -> list[Message]:
    messages = read_all(here, here.settings.topic_names.outcomes)
    return [message for message in messages if message.key() == job_id.encode()]


def dead_letters(here: Deployment) -> list[dict[str, Any]]:
    return [json.loads(message.value() or b"") for message in read_all(here, here.settings.topic_names.dead_letters)]


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Kcat:
    """Produces as kcat does: librdkafka with its own default partitioner, CRC32 of the key."""

    def __init__(self, here: Deployment, options: dict[str, Any] | None = None) -> None:
        self._topic = here.settings.topic_names.jobs
        servers = here.settings.kafka.bootstrap_servers
        self._producer = Producer({"bootstrap.servers": servers, "partitioner": "consistent_random", **(options or {})})

    def send(self, value: bytes, key: str | None = None, partition: int = -1) -> Message:
        delivered: list[Message] = []
        self._producer.produce(
            self._topic,
            value,
            key.encode() if key is not None else None,
            partition,
            on_delivery=lambda _error, message: delivered.append(message),
        )
        self._producer.flush(10)
        assert delivered[0].error() is None
        return delivered[0]


def id_with_two_homes(stem: str) -> str:
    """Return an id that CRC32 and murmur2 put on different partitions."""
    for number in range(100):
        job_id = f"{stem}-{number}"
        if zlib.crc32(job_id.encode()) % PARTITIONS != home_partition(job_id, PARTITIONS):
            return job_id
    raise AssertionError("unreachable: they agree on about one key in twelve")


def test_a_job_its_cancel_and_its_repetition_meet_whatever_partitioner_their_clients_have(here: Deployment) -> None:
    job_id = id_with_two_homes("met")
    kcat = Kcat(here)
    submitted = kcat.send(json.dumps({"workflow": SLOW, "input": {"word": "x"}}).encode(), job_id)
    assert submitted.partition() != home_partition(job_id, PARTITIONS)
    time.sleep(0.5)
    kcat.send(b'{"type": "cancel"}', job_id)
    with HeadraceClient(here.settings) as murmur2:
        assert murmur2.outcome(job_id, timeout_s=20).status is JobStatus.CANCELLED
        murmur2.submit(SLOW, {"word": "x"}, job_id=job_id)
        wait_until(lambda: len(outcomes_of(here, job_id)) == 2, "the repetition is not answered")
    first, again = (header_map(message.headers()) for message in outcomes_of(here, job_id))
    values = {message.value() for message in outcomes_of(here, job_id)}
    assert len(values) == 1, "the repetition is answered byte for byte"
    assert first["ce_id"] == again["ce_id"]
    assert ("x-repeat" in first, again["x-repeat"]) == (False, "true")


def test_a_job_without_key_and_id_is_named_after_its_place(here: Deployment) -> None:
    placed = Kcat(here).send(json.dumps({"workflow": ONE, "input": {"word": "hi"}}).encode())
    with HeadraceClient(here.settings) as client:
        outcome = client.outcome(f"j-{placed.partition()}-{placed.offset()}", timeout_s=20)
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, "hi")


@dataclass(frozen=True)
class Bad:
    name: str
    value: bytes
    reason: str
    says: str


def job(**fields: Any) -> bytes:
    return json.dumps({"workflow": ONE, "input": {"word": "x"}, **fields}).encode()


def steps(**llm: Any) -> dict[str, Any]:
    return {**ONE, "steps": {"answer": {"llm": {"pool": "noop", "prompt": "{{ input.word }}", **llm}}}}


REJECTED = [
    Bad("not-json", b"{oops", "invalid_job", "not JSON"),
    Bad("bad-utf8", b'{"workflow": "\xff"}', "invalid_job", "JSON"),
    Bad("typo", job(imput={}), "invalid_job", "did you mean 'input'"),
    Bad("unknown-workflow", job(workflow="nowhere@3"), "unknown_workflow", "nowhere"),
    Bad("missing-field", job(input={}), "invalid_input", "word"),
    Bad("unknown-pool", job(workflow=steps(pool="nop")), "invalid_workflow", "noop"),
    Bad("other-id", job(job_id="another-id"), "invalid_job", "another-id"),
    Bad("no-time-zone", job(deadline="2030-01-01T00:00:00"), "invalid_job", "deadline"),
]


def test_bad_input_is_rejected_with_its_reason_and_its_partition_goes_on(here: Deployment) -> None:
    kcat = Kcat(here)
    for bad in REJECTED:
        kcat.send(bad.value, f"bad-{bad.name}")
    with HeadraceClient(here.settings) as client:
        for bad in REJECTED:
            job_id = "another-id" if bad.name == "other-id" else f"bad-{bad.name}"
            outcome = client.outcome(job_id, timeout_s=20)
            assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, bad.reason), bad.name
            assert bad.says in outcome.message, outcome.message
            assert len(outcomes_of(here, job_id)) == 1
        for partition in range(PARTITIONS):
            job_id = next(f"good-{n}" for n in range(999) if home_partition(f"good-{n}", PARTITIONS) == partition)
            client.submit(ONE, {"word": "on"}, job_id=job_id)
            assert client.outcome(job_id, timeout_s=20).output == "on"


def test_what_cannot_be_answered_is_a_dead_letter_with_its_origin(here: Deployment) -> None:
    kcat = Kcat(here)
    sent = {
        "invalid_json": kcat.send(b"{oops"),
        "missing_job_id": kcat.send(b'{"type": "cancel"}'),
        "invalid_job_id": kcat.send(job(job_id="a/b")),
    }

    def found(reason: str) -> dict[str, Any] | None:
        where = {"partition": sent[reason].partition(), "offset": sent[reason].offset()}
        letters = [one for one in dead_letters(here) if one["reason"] == reason]
        return next((one for one in letters if {k: one["origin"][k] for k in where} == where), None)

    for reason, message in sent.items():
        wait_until(lambda reason=reason: found(reason) is not None, f"no dead letter for {reason}")  # type: ignore[misc]
        letter = found(reason)
        assert letter is not None
        assert base64.b64decode(letter["value_base64"]) == message.value()


def test_a_submission_over_the_size_limit_is_rejected_wherever_it_lies_and_once(here: Deployment) -> None:
    """Kafka's own limit is on compressed batches: a client with compression can write more than can be forwarded."""
    large = Kcat(here, {"message.max.bytes": 20_000_000, "compression.type": "zstd"})
    away = id_with_two_homes("large")
    with HeadraceClient(here.settings) as client:
        for job_id, partition in ((away, -1), ("large-at-home", home_partition("large-at-home", PARTITIONS))):
            for _ in range(2):
                large.send(job(input={"word": "x" * 3_000_000}), job_id, partition)
            outcome = client.outcome(job_id, timeout_s=20)
            assert (outcome.status, outcome.reason) == (JobStatus.REJECTED, "too_large"), job_id
            assert "bytes" in outcome.message
            wait_until(lambda job_id=job_id: len(outcomes_of(here, job_id)) == 2, "the repetition is not answered")  # type: ignore[misc]
            assert len({message.value() for message in outcomes_of(here, job_id)}) == 1


def test_a_prompt_over_the_context_is_refused_before_any_call(here: Deployment) -> None:
    with HeadraceClient(here.settings) as client:
        long = client.submit(steps(pool="tiny"), {"word": "word " * 5_000})
        outcome = client.outcome(long, timeout_s=20)
        assert (outcome.status, outcome.reason) == (JobStatus.FAILED, "context_too_long")
        assert outcome.receipt.attempts == 0


def test_when_everything_is_done_raw_committed_lag_is_0_on_every_partition(here: Deployment) -> None:
    with HeadraceClient(here.settings) as client:
        assert client.outcome(client.submit(FAN, {"items": list(range(1_000))}), timeout_s=60).output == 1_000
    names = here.settings.topic_names
    groups = {
        names.orchestrator_group: [names.jobs, names.results],
        names.worker_group("noop"): [names.tasks("noop", lane) for lane in Lane],
    }
    for group, topics in groups.items():
        wait_until(lambda g=group, t=topics: not lags(here, g, t), f"{group}: {lags(here, group, topics)}", 15.0)  # type: ignore[misc]


def test_lag_tells_what_waits_from_what_is_in_flight_and_ends_at_0(here: Deployment) -> None:
    def lag() -> tuple[int, int, int]:
        (one,) = [
            lane
            for lane in pool_lag(admin_client(here.settings), here.settings.topic_names, ["http"])
            if lane.lane == Lane.BATCH.value
        ]
        return one.waiting, one.in_flight, one.members

    wait_until(lambda: lag() == (0, 0, len(Lane)), f"{lag()} before the job")
    work = {**FAN, "steps": {"work": {**FAN["steps"]["work"], "llm": {"pool": "http", "prompt": "{{ item }}"}}}}
    with HeadraceClient(here.settings) as client:
        job_id = client.submit(work, {"items": list(range(20))})
        # The pool takes 64 at once: all 20 are taken, and none waits; each takes three seconds.
        wait_until(lambda: lag() == (0, 20, len(Lane)), "the tasks taken do not show as in flight", 2.5)
        assert client.outcome(job_id, timeout_s=30).output == 20
    wait_until(lambda: lag() == (0, 0, len(Lane)), f"{lag()} after the job", 5.0)


def lags(here: Deployment, group: str, topics: list[str]) -> dict[tuple[str, int], int]:
    """Return the partitions whose committed offset is not their end; one never written to needs no commit."""
    admin = admin_client(here.settings)
    committed = {
        (part.topic, part.partition): part.offset
        for part in admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
        .result()
        .topic_partitions
    }
    consumer = Consumer(reader_config(here.settings, "test", committed=False))
    try:
        behind = {}
        for topic in topics:
            for number in range(PARTITIONS):
                _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
                if lag := end - max(0, committed.get((topic, number), 0)):
                    behind[topic, number] = lag
        return behind
    finally:
        consumer.close()


@pytest.mark.slow
def test_a_transaction_writes_no_more_state_for_a_large_job_than_for_a_small_one(
    here: Deployment, record_property: Callable[[str, object], None]
) -> None:
    batch = here.settings.orchestrator.batch_records
    for tasks in (10, 10_000):
        job_id = f"sized-{tasks}"
        with HeadraceClient(here.settings) as client:
            client.submit(FAN, {"items": list(range(tasks))}, job_id=job_id)
            assert client.outcome(job_id, timeout_s=90).output == tasks
        time.sleep(1.0)
        sizes = transactions(here, job_id)
        record_property(f"state_records_{tasks}", f"largest {max(sizes)}, mean {sum(sizes) / len(sizes):.1f}")
        # Each record read ends one task and lets one out: two records; besides them headers, cursors, closing.
        assert max(sizes) <= 2 * batch + 300, f"{tasks} tasks: {max(sizes)} state records in one transaction"


def transactions(here: Deployment, job_id: str) -> list[int]:
    """Return the sizes of the transactions on a job's partition of `state`: markers between them take an offset."""
    home = home_partition(job_id, PARTITIONS)
    messages = read_all(here, here.settings.topic_names.state)
    offsets = sorted(message.offset() or 0 for message in messages if message.partition() == home)
    sizes, run = [], 0
    for before, offset in zip([-1, *offsets], offsets, strict=False):
        if offset != before + 1 and run:
            sizes.append(run)
            run = 0
        run += 1
    return [*sizes, run]


@pytest.mark.slow  # It starts a broker of its own.
def test_a_whole_job_runs_over_sasl_scram_and_the_password_is_in_no_log(
    scram_broker: Callable[[ScramUser], LocalKafka],
) -> None:
    user = ScramUser("headrace", SecretStr("correct-horse-battery"))
    kafka = scram_broker(user)
    options = {name: text for name, text in client_options(user).items() if not name.startswith("sasl.u")}
    password = options.pop("sasl.password")
    settings = {"options": options, "sasl_username": user.name, "sasl_password": password}
    with deployment(workers={"noop": 1}, servers=kafka.sasl_bootstrap_servers, kafka=settings) as secured:
        with HeadraceClient(secured.settings) as client:
            assert client.outcome(client.submit(ONE, {"word": "safe"}), timeout_s=30).output == "safe"
        logs = [Path(status.log).read_text() for status in secured.supervisor.status()]
    assert logs
    assert not any(password in log for log in logs)

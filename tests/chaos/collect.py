"""Gathers what is left in the topics and in the provider's log, once everything is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    Message,
    TopicPartition,
)

from headrace.runtime.kafka import admin_client
from headrace.runtime.offsets import ends
from headrace.runtime.settings import Settings
from headrace.schemas.codec import SCHEMA_HEADER, header_map
from headrace.schemas.messages import Lane
from tests.chaos.clients import reader
from tests.chaos.evidence import Call, Letter, Seen
from tests.chaos.workflows import INPUT_PRICE, OUTPUT_PRICE

READ_S = 60.0
POOLS = ("noop", "http")


def outcomes(settings: Settings) -> list[Seen]:
    """Return every committed record of ``outcomes``."""
    found = []
    for message in read_all(settings, settings.topic_names.outcomes):
        headers = header_map(cast(Any, message.headers()))
        key, value = message.key() or b"", message.value() or b""
        found.append(Seen(key.decode(), headers.get("ce_id", ""), headers.get("x-repeat") == "true", value))
    return found


def letters(settings: Settings) -> list[Letter]:
    """Return every dead letter."""
    found = []
    for message in read_all(settings, settings.topic_names.dead_letters):
        if header_map(cast(Any, message.headers())).get(SCHEMA_HEADER) == "resolution":
            continue
        body = json.loads(message.value() or b"{}")
        origin = body["origin"]
        place = f"{origin['topic']}[{origin['partition']}]@{origin['offset']}"
        found.append(Letter(body["reason"], body.get("job_id"), place, body["message"]))
    return found


def calls(log: Iterable[dict[str, Any]], *, offset_s: float, now_s: float) -> list[Call]:
    """Read the provider's log.

    Args:
        offset_s: what its clock is to be added to become the run's.
        now_s: the run's clock now: the end of what has not ended.
    """
    found = []
    for line in log:
        task_id, _, attempt = line["key"].rpartition(":")
        ended = line["ended_s"]
        micro = line["input_tokens"] * INPUT_PRICE + line["output_tokens"] * OUTPUT_PRICE
        found.append(
            Call(
                task_id=task_id,
                attempt=int(attempt),
                caller=line["caller"],
                began_s=line["at_s"] + offset_s,
                ended_s=now_s if ended is None else ended + offset_s,
                status=line["status"],
                fault=line["fault"],
                cost_microusd=-(-micro // 1_000_000),
            )
        )
    return found


def lags(settings: Settings) -> dict[str, int]:
    """Return how many records of each partition are not committed as done, where there are any."""
    names = settings.topic_names
    groups = {names.orchestrator_group: [names.jobs, names.results]}
    for pool in POOLS:
        groups[names.worker_group(pool)] = [names.tasks(pool, lane) for lane in Lane]
    admin = admin_client(settings)
    behind = {}
    for group, topics in groups.items():
        answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
        committed = {(part.topic, part.partition): part.offset for part in answer.topic_partitions}
        places = [(topic, number) for topic in topics for number in range(settings.topics.partitions)]
        for place, end in ends(admin, places).items():
            begin = max(0, committed.get(place, 0))
            if end > begin and (group != names.orchestrator_group or _records(settings, *place, begin)):
                behind[f"{group} {place[0]}[{place[1]}]"] = end - begin
    return behind


def _records(settings: Settings, topic: str, partition: int, begin: int) -> bool:
    """Whether there is a record from an offset on: a forwarded job leaves the marker of its transaction behind it."""
    consumer = Consumer(reader(settings))
    try:
        consumer.assign([TopicPartition(topic, partition, begin)])
        deadline = time.monotonic() + READ_S
        while time.monotonic() < deadline:
            for message in consumer.consume(1, 0.2):
                return message.error() is None
        return True
    finally:
        consumer.close()


def state_keys(settings: Settings) -> list[str]:
    """Return the keys of ``state`` that have a value."""
    live: dict[str, bool] = {}
    for message in read_all(settings, settings.topic_names.state):
        key = (message.key() or b"").decode("utf-8", "replace")
        # Owner and cursors stand under the same keys on every partition; which does not matter here.
        live[key] = message.value() is not None
    return sorted(key for key, there in live.items() if there)


def wait_until(holds: Callable[[], bool], timeout_s: float, *, every_s: float = 0.5) -> bool:
    """Wait for something; return whether it came in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def read_all(settings: Settings, topic: str) -> list[Message]:
    """Return what is committed on a topic, up to its end now."""
    consumer = Consumer(reader(settings))
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        found: list[Message] = []
        ended: set[int] = set()
        deadline = time.monotonic() + READ_S
        while len(ended) < len(partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} could not be read to its end within {READ_S:g} s")
            for message in consumer.consume(2_000, 0.2):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
        return found
    finally:
        consumer.close()

"""Reads records whose header names are not UTF-8 from librdkafka's own mock cluster; run by `test_headers`, apart.

Where this goes wrong the process ends by a segmentation fault, or an exception comes up in another line.
"""

from __future__ import annotations

import time
from collections import Counter

from confluent_kafka import Consumer, Producer, TopicPartition

from headrace.runtime.kafka import headers_of
from headrace.schemas.codec import UNREADABLE_HEADERS
from tests.hostile.raw_produce import RawRecord, produce

GOOD, BAD = 300, 50
"""So many good ones first that Python has specialised every line that reads them."""


def main() -> None:
    cluster = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0})
    cluster.list_topics("t", timeout=10)
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    servers = f"{broker.host}:{broker.port}"
    produce(servers, "t", 0, [RawRecord(b"k", b"v", [(b"a", b"1")])] * GOOD)
    produce(servers, "t", 0, [RawRecord(b"k", b"v", [(b"\xff", b"x")])] * BAD)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g", "log_level": 0})
    consumer.assign([TopicPartition("t", 0, 0)])
    seen: Counter[str] = Counter()
    deadline = time.monotonic() + 30
    while seen.total() < GOOD + BAD and time.monotonic() < deadline:
        for message in consumer.consume(100, 0.5):
            for name, _value in headers_of(message):
                seen[name] += 1
    assert seen == {"a": GOOD, UNREADABLE_HEADERS: BAD}, seen


if __name__ == "__main__":
    main()

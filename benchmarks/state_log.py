"""What jobs wrote to topic ``state``: records, bytes and transactions, read from the log itself."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from headrace.runtime.kafka import admin_client, reader_config
from headrace.runtime.offsets import ends
from headrace.runtime.settings import Settings

READ_S = 60.0
QUIET_S = 0.5
KEEP_MS = 6 * 3_600_000


@dataclass(slots=True)
class StateLog:
    """Records of one partition between two offsets."""

    bytes: int = 0
    """Keys and values, of every kind of record."""
    live: list[int] = field(default_factory=list)
    """Bytes of each record of a task that is out, its key included."""
    finished: list[int] = field(default_factory=list)
    """The same of tasks that are done, their outputs included."""
    transactions: list[int] = field(default_factory=list)
    """How many records each wrote."""

    def plus(self, other: StateLog) -> StateLog:
        """Return both together."""
        return StateLog(
            self.bytes + other.bytes,
            self.live + other.live,
            self.finished + other.finished,
            self.transactions + other.transactions,
        )

    def figures(self, tasks: int) -> dict[str, float | int]:
        """Return what a task and what a transaction wrote."""
        return {
            "state_bytes_per_task": round(self.bytes / tasks, 1),
            "live_record_bytes": round(statistics.mean(self.live), 1),
            "finished_record_bytes": round(statistics.mean(self.finished), 1),
            "state_records_per_transaction_max": max(self.transactions),
        }


def keep_all(settings: Settings) -> None:
    """Have no record compacted away before it is read here."""
    lags = {"min.compaction.lag.ms": KEEP_MS, "max.compaction.lag.ms": 2 * KEEP_MS}
    entries = [ConfigEntry(name, str(ms), incremental_operation=AlterConfigOpType.SET) for name, ms in lags.items()]
    topic = ConfigResource(ResourceType.TOPIC, settings.topic_names.state, incremental_configs=entries)
    admin: AdminClient = admin_client(settings)
    for changed in admin.incremental_alter_configs([topic]).values():
        changed.result(timeout=10)


def state_end(settings: Settings, partition: int) -> int:
    """Return where the log of a partition ends now."""
    place = (settings.topic_names.state, partition)
    return ends(admin_client(settings), [place])[place]


def settled_end(settings: Settings, partition: int) -> int:
    """Return where the log of a partition ends once nothing more is written to it."""
    end, since = state_end(settings, partition), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        time.sleep(0.1)
        if (now := state_end(settings, partition)) != end:
            end, since = now, time.monotonic()
    return end


def read_state(settings: Settings, partition: int, start: int) -> StateLog:
    """Read a partition's log from an offset to its end. Markers between transactions take offsets."""
    found, before, end = StateLog(), -2, state_end(settings, partition)
    consumer = Consumer({**reader_config(settings, "benchmark"), "fetch.wait.max.ms": 10})
    deadline = time.monotonic() + READ_S
    try:
        consumer.assign([TopicPartition(settings.topic_names.state, partition, start)])
        at = start
        while at < end:
            assert time.monotonic() < deadline, f"{at} of {end} records were read"
            for message in consumer.consume(5_000, 0.2):
                at = (message.offset() or 0) + (message.error() is None)
                if message.error() is None:
                    _take(found, message.key() or b"", message.value() or b"")
                    if message.offset() == before + 1:
                        found.transactions[-1] += 1
                    else:
                        found.transactions.append(1)
                    before = message.offset() or 0
    finally:
        consumer.close()
    return found


def _take(found: StateLog, key: bytes, value: bytes) -> None:
    size = len(key) + len(value)
    found.bytes += size
    if key.startswith(b"task/") and value:
        status = json.loads(value)["s"]
        if status == "live":
            found.live.append(size)
        elif status == "done":
            found.finished.append(size)

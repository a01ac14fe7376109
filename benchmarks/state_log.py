"""What jobs wrote to topic ``state``: records, bytes and transactions, read from the log itself."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping
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
    """How many records each wrote to a partition."""

    def figures(self, tasks: int) -> dict[str, float | int]:
        """Return what a task and what a transaction wrote."""
        return {
            "state_bytes_per_task": round(self.bytes / tasks, 1),
            "live_record_bytes": round(statistics.mean(self.live), 1),
            "finished_record_bytes": round(statistics.mean(self.finished), 1),
            "state_records_per_transaction_max": max(self.transactions),
        }


class StateTopic:
    """Topic ``state`` of a deployment."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._name = settings, settings.topic_names.state
        self._admin: AdminClient = admin_client(settings)

    def keep_all(self) -> None:
        """Have no record compacted away before it is read here."""
        lags = {"min.compaction.lag.ms": KEEP_MS, "max.compaction.lag.ms": 2 * KEEP_MS}
        entries = [ConfigEntry(name, str(ms), incremental_operation=AlterConfigOpType.SET) for name, ms in lags.items()]
        topic = ConfigResource(ResourceType.TOPIC, self._name, incremental_configs=entries)
        for changed in self._admin.incremental_alter_configs([topic]).values():
            changed.result(timeout=10)

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return where the logs of partitions end now."""
        return {p: end for (_, p), end in ends(self._admin, [(self._name, p) for p in partitions]).items()}

    def settled(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return where the logs of partitions end once nothing more is written to them."""
        partitions = list(partitions)
        found, since = self.ends(partitions), time.monotonic()
        while time.monotonic() - since < QUIET_S:
            time.sleep(0.05)
            if (now := self.ends(partitions)) != found:
                found, since = now, time.monotonic()
        return found

    def read(self, starts: Mapping[int, int]) -> StateLog:
        """Read the logs of partitions from these offsets to their ends, which must be settled."""
        found, left = StateLog(), {p: end for p, end in self.ends(starts).items() if end > starts[p]}
        latest: dict[int, tuple[int, int]] = {}
        """By partition, the last offset, and which transaction it was of; markers between them take offsets."""
        consumer = Consumer({**reader_config(self._settings, "benchmark"), "fetch.wait.max.ms": 10})
        deadline = time.monotonic() + READ_S
        try:
            consumer.assign([TopicPartition(self._name, p, starts[p]) for p in left])
            while left:
                assert time.monotonic() < deadline, f"not read to their ends: {left}"
                for message in consumer.consume(10_000, 0.1):
                    p, offset = message.partition() or 0, message.offset() or 0
                    if message.error() is None:
                        _take(found, message.key() or b"", message.value() or b"")
                        before, number = latest.get(p, (-2, -1))
                        if before != offset - 1:
                            number = len(found.transactions)
                            found.transactions.append(0)
                        found.transactions[number] += 1
                        latest[p] = offset, number
                        offset += 1
                    if p in left and offset >= left[p]:
                        del left[p]
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

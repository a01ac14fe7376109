"""``confluent_kafka.Producer`` on the simulated cluster: idempotent, and transactional where it has an id.

What is produced lies in a local queue until the background sends it; delivery reports wait for poll or flush. Errors
of transactions as in librdkafka's ``rdkafka_txnmgr.c``: an old epoch is fatal, a fenced member is abortable, an answer
that does not come is retriable and the same call again goes on where it was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.client import Client
from tests.simulation.cluster import MAX_MESSAGE_BYTES
from tests.simulation.groups import Committed, Membership
from tests.simulation.log import Headers, PartitionLog
from tests.simulation.network import Lost, kafka_error
from tests.simulation.world import EPOCH_S

RETRY_US = 10_000
CONCURRENT_US = 20_000


class Report:
    """What a delivery report says of its record."""

    __slots__ = ("_offset", "_partition", "_topic")

    def __init__(self, log: PartitionLog, offset: int) -> None:
        self._topic, self._partition, self._offset = log.topic, log.partition, offset

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset


class Queued:
    """A record in the local queue, with its place and who is told."""

    __slots__ = ("log", "record", "report")

    def __init__(self, log: PartitionLog, record: tuple[Any, ...], report: Callable[..., Any] | None) -> None:
        self.log = log
        self.record = record
        self.report = report


class Producer(Client):
    """One producer."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._linger_us = int(float(config.get("linger.ms", 5)) * 1_000)
        self._id: str | None = config.get("transactional.id")
        self._error_cb: Callable[..., Any] = config.get("error_cb", lambda _: None)
        self._queue: list[Queued] = []
        self._in_flight = 0
        self._due = False
        self._last_arrival: dict[PartitionLog, int] = {}
        self._registered: dict[PartitionLog, None] = {}
        self._registering = False
        self._producer_id = self._epoch = -1
        self._fatal: KafkaError | None = None
        self._abortable: KafkaError | None = None
        self._in_transaction = False
        self._sent_anything = False

    def __len__(self) -> int:
        return len(self._queue) + self._in_flight

    # ── Producing ────────────────────────────────────────────────────────────────────────────────────────────────

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Callable[..., Any] | None = None,
        *,
        headers: Headers | None = None,
    ) -> None:
        world = self.world
        world.writing()
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        if len(value or b"") + len(key or b"") > MAX_MESSAGE_BYTES:
            raise KafkaException(kafka_error(KafkaError.MSG_SIZE_TOO_LARGE))
        if self._faults.queue_is_full():
            raise BufferError("Local: Queue full")
        if partition < 0:
            partition = self.cluster.partition_for(topic, key)
        now_ms = EPOCH_S * 1_000 + (world.now_us + self.process.skew_us) // 1_000
        record = (key, value, headers, now_ms)
        self._queue.append(Queued(self.cluster.log(topic, partition), record, on_delivery))
        self._send_soon(self._linger_us)

    def poll(self, timeout: float = 0.0) -> int:
        thread = self.world.writing()
        if timeout > 0 and not self.reports:
            self.wait(thread, int(timeout * 1e6))
        served = self._serve()
        self.world.writing()
        return served

    def flush(self, timeout: float = -1.0) -> int:
        thread = self.world.writing()
        deadline_us = self.world.now_us + int(timeout * 1e6)
        self._send_soon(0)
        while True:
            self._serve()
            left_us = deadline_us - self.world.now_us
            if not len(self) or left_us <= 0:
                self.world.writing()
                return len(self)
            self.wait(thread, left_us)

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        self.world.writing()
        self._queue.clear()

    def close(self) -> None:
        self.world.writing()
        self._queue.clear()
        self._fatal = kafka_error(KafkaError._FATAL, fatal=True)

    def _serve(self) -> int:
        served = len(self.reports)
        while self.reports:
            call, args = self.reports.popleft()
            call(*args)
        return served

    def _send_soon(self, delay_us: int) -> None:
        if self._queue and not self._due:
            self._due = True
            self.world.at(delay_us + self.world.bits(7), self._send, process=self.process)

    def _send(self) -> None:
        """Send the queue, partition by partition; a transaction registers new partitions first."""
        self._due = False
        if not self._queue or self._registering:
            return
        if self._id is not None:
            new = [log for log in dict.fromkeys(q.log for q in self._queue) if log not in self._registered]
            if new:
                self._register(new)
                return
        queue, self._queue = self._queue, []
        batches: dict[PartitionLog, list[Queued]] = {}
        for each in queue:
            batches.setdefault(each.log, []).append(each)
        for log, batch in batches.items():
            self._in_flight += len(batch)
            self._send_batch(log, batch)

    def _register(self, logs: list[PartitionLog]) -> None:
        self._registering = True
        self._sent_anything = True
        args = (self._id, self._epoch, self.process.name, list(logs))
        epoch = self._epoch

        def answer(code: Any) -> None:
            if epoch != self._epoch:
                return
            self._registering = False
            if isinstance(code, Lost) or code == KafkaError.CONCURRENT_TRANSACTIONS:
                if isinstance(code, Lost):
                    self._disconnected()
                self.world.at(CONCURRENT_US, self._send, process=self.process)
            elif code:
                self._fail_all(self._set_fatal(KafkaError._FENCED))
            else:
                self._registered.update(dict.fromkeys(logs))
                self._send()

        self.cluster.network.send(self.process, self.cluster.transactions.add, args, answer)

    def _fail_all(self, error: KafkaError) -> None:
        queue, self._queue = self._queue, []
        for each in queue:
            if each.report is not None:
                self.reports.append((each.report, (error, Report(each.log, -1))))
        self.more()

    def _send_batch(self, log: PartitionLog, batch: list[Queued]) -> None:
        """Send one partition's records; they are appended once and in order, however often they are sent."""
        world, network = self.world, self.cluster.network
        fate = self._faults.delivery_fate(self._id is not None)
        way_us = network.delay_us() + fate.delay_us + self.process.cut_off_us
        arrival_us = max(world.now_us + way_us, self._last_arrival.get(log, 0) + 1)
        self._last_arrival[log] = arrival_us
        records = [each.record for each in batch]
        epoch = self._epoch

        def arrive() -> None:
            base, code = -1, int(KafkaError._MSG_TIMED_OUT)
            if not fate.lost:
                base, code = self._append(log, records, epoch)
            if fate.answer_lost:
                base, code = -1, int(KafkaError._MSG_TIMED_OUT)
            world.at(network.delay_us(), self._delivered, log, batch, base, code, process=self.process)

        world.at(arrival_us - world.now_us, arrive)

    def _append(self, log: PartitionLog, records: list[tuple[Any, ...]], epoch: int) -> tuple[int, int]:
        """Append at the broker; return the first offset, or −1, and the error."""
        if self._id is None:
            return self.cluster.append(log, records), 0
        return self.cluster.append_in_transaction(log, records, self._id, self._producer_id, epoch)

    def _delivered(self, log: PartitionLog, batch: list[Queued], base: int, code: int) -> None:
        self._in_flight -= len(batch)
        error = kafka_error(code) if code else None
        if code and self._id is not None and self._abortable is None:
            self._abortable = kafka_error(code, abort=True)
        for number, each in enumerate(batch):
            if each.report is not None:
                self.reports.append((each.report, (error, Report(log, base + number))))
        self.more()

    # ── Transactions ─────────────────────────────────────────────────────────────────────────────────────────────

    def init_transactions(self, timeout: float = -1.0) -> None:
        timeout_us = int(self.config.get("transaction.timeout.ms", 60_000)) * 1_000
        found = self._until(timeout, "init", self.cluster.transactions.init, self._id, timeout_us)
        self._producer_id, self._epoch = found

    def begin_transaction(self) -> None:
        self.world.writing()
        self._check()
        self._in_transaction, self._sent_anything = True, False
        self._abortable = None

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], metadata: bytes, timeout: float = -1.0
    ) -> None:
        self.world.writing()
        self._check()
        if not positions:
            return  # Nothing is sent, so nobody is fenced.
        group_name, who = _read_metadata(metadata)
        group = self.cluster.group(group_name)
        self._sent_anything = True
        add = self.cluster.transactions.add
        self._until(timeout, "add offsets", add, self._id, self._epoch, self.process.name, [group])
        offsets = {(tp.topic, tp.partition): Committed(tp.offset, "") for tp in positions}
        code = self._until(
            timeout, "offsets", group.commit_in_transaction, self._producer_id, self._epoch, who, offsets
        )
        if code:
            self._abortable = kafka_error(code, abort=True)
            raise KafkaException(self._abortable)

    def commit_transaction(self, timeout: float = -1.0) -> None:
        self.world.writing()
        self._check()
        self.flush(timeout)
        self._check()
        if self._sent_anything:
            self._end(timeout, committed=True)
        self._closed_transaction()

    def abort_transaction(self, timeout: float = -1.0) -> None:
        self.world.writing()
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        self._queue.clear()
        self.flush(timeout)
        if self._sent_anything:
            self._end(timeout, committed=False)
        self._closed_transaction()

    def _end(self, timeout: float, *, committed: bool) -> None:
        unknown = self._faults.unknown_ending() if committed else None
        if unknown == "before":
            raise KafkaException(self._set_fatal(KafkaError._INCONSISTENT))
        self._until(timeout, "end", self.cluster.transactions.end, self._id, self._epoch, committed)
        if unknown == "after":
            raise KafkaException(self._set_fatal(KafkaError._INCONSISTENT))

    def _closed_transaction(self) -> None:
        self._in_transaction = self._sent_anything = False
        self._abortable = None
        self._registered.clear()
        self.world.writing()

    def _check(self) -> None:
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        if self._abortable is not None:
            raise KafkaException(self._abortable)

    def _until(self, timeout: float, what: str, serve: Callable[..., Any], *args: Any) -> Any:
        """Ask until there is an answer that ends it, or the time is over: then the same call goes on."""
        deadline_us = self.world.now_us + int(timeout * 1e6)
        self.trouble(what)
        while True:
            try:
                found = self.cluster.network.ask(serve, *args, may_be_late=what == "end")
            except Lost:
                self._disconnected()
                found = int(KafkaError._TRANSPORT)
            if found in _FATAL:
                fenced = found == KafkaError.INVALID_PRODUCER_EPOCH
                raise KafkaException(self._set_fatal(KafkaError._FENCED if fenced else found))
            if found not in _AGAIN:
                return found
            if self.world.now_us >= deadline_us:
                raise KafkaException(kafka_error(KafkaError._TIMED_OUT, retriable=True))
            self.world.sleep(CONCURRENT_US / 1e6)

    def _set_fatal(self, code: int) -> KafkaError:
        self._fatal = kafka_error(code, fatal=True)
        return self._fatal

    def _disconnected(self) -> None:
        self.reports.append((self._error_cb, (kafka_error(KafkaError._TRANSPORT),)))


_FATAL = frozenset({int(KafkaError.INVALID_PRODUCER_EPOCH), int(KafkaError.INVALID_TXN_STATE)})
_AGAIN = frozenset({int(KafkaError.CONCURRENT_TRANSACTIONS), int(KafkaError._TRANSPORT)})


def _read_metadata(metadata: bytes) -> tuple[str, Membership]:
    """Read what `Consumer.consumer_group_metadata` wrote."""
    start = len(b"CGMDv2:")
    generation = struct.unpack_from("=i", metadata, start)[0]
    group, member_id, instance = metadata[start + 4 :].decode().split("\0")
    return group, Membership(member_id, generation, instance or None)

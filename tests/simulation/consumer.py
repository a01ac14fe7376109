"""``confluent_kafka.Consumer`` on the simulated cluster.

Kept as they were measured or read in librdkafka's source: callbacks run inside poll and consume; pausing what is not
assigned does nothing; ``position`` is −1001 until something was consumed after an assignment or a seek, and goes past
markers and aborted records once they are polled over; ``consume(n, t)`` waits the whole t for n records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, OFFSET_STORED, KafkaError, KafkaException, TopicPartition

from tests.simulation.assignors import Place
from tests.simulation.client import Client, ErrorMessage, Offset
from tests.simulation.clock import PATIENCE
from tests.simulation.groups import Committed, Membership
from tests.simulation.log import Entry, PartitionLog, hidden
from tests.simulation.membership import ASSIGN, LOSE, REVOKE, Member
from tests.simulation.network import Lost, kafka_error

INVALID = -1001
FRESH_US = 3_000
"""For so long after an assignment a seek may be refused: the client has not begun to fetch."""


class Cursor:
    """Where a consumer stands in one partition."""

    __slots__ = ("app_position", "assigned_us", "eof_at", "log", "paused", "position", "ready_us")

    def __init__(self, log: PartitionLog, now_us: int) -> None:
        self.log = log
        self.position: int | None = None
        """None until the client knows where to begin."""
        self.app_position = INVALID
        self.paused = False
        self.assigned_us = now_us
        self.ready_us = now_us
        self.eof_at = -1


class Consumer(Client):
    """One consumer."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._committed_only = config.get("isolation.level", "read_committed") == "read_committed"
        self._eof = bool(config.get("enable.partition.eof", False))
        self._reset = str(config.get("auto.offset.reset", "latest"))
        self._on_commit: Callable[..., Any] | None = config.get("on_commit")
        self._group = self.cluster.group(str(config["group.id"]))
        self._member: Member | None = None
        self._callbacks: dict[str, Callable[..., Any]] = {}
        self._assigned: dict[Place, Cursor] = {}
        self._turn = 0
        self._changed_by_app = False
        self._fatal_told = False

    # ── Group ────────────────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, topics: list[str], **callbacks: Callable[..., Any]) -> None:
        self.world.boundary()
        self._callbacks = callbacks
        self._member = Member(self, self._group, tuple(topics), self.config)

    def unsubscribe(self) -> None:
        self.world.boundary()
        if self._member is not None:
            self._member.unsubscribe()

    def consumer_group_metadata(self) -> bytes:
        self.world.boundary()
        who = self._member.identity() if self._member else Membership("", -1, None)
        names = "\0".join((self._group.name, who.member_id, who.instance or ""))
        return b"CGMDv2:" + struct.pack("=i", who.generation) + names.encode()

    def committed(self, partitions: list[TopicPartition], timeout: float = 10.0) -> list[Offset]:
        places = [(each.topic, each.partition) for each in partitions]
        deadline_us = self.world.now_us + int(timeout * 1e6)
        self.trouble("committed")
        while True:
            try:
                found = self.cluster.network.ask(lambda: self._group.committed(places, stable=self._committed_only))
            except Lost:
                found = int(KafkaError._TRANSPORT)
            if isinstance(found, dict):
                nothing = Committed(INVALID, "")
                answers = [(place, found.get(place, nothing)) for place in places]
                return [Offset(*place, one.offset, one.metadata) for place, one in answers]
            if self.world.now_us >= deadline_us:
                raise KafkaException(kafka_error(KafkaError._TIMED_OUT, retriable=True))
            self.world.sleep(0.02)

    def commit(self, offsets: list[TopicPartition], asynchronous: bool = True) -> list[Offset] | None:
        who = self._member.identity() if self._member else Membership("", -1, None)
        wanted = {(tp.topic, tp.partition): Committed(tp.offset, tp.metadata or "") for tp in offsets}
        self.trouble("commit")
        if asynchronous:
            self.world.boundary()
            self.cluster.network.send(
                self.process, self._group.commit, (who, wanted), lambda code: self._commit_answered(code, wanted)
            )
            return None
        try:
            code = self.cluster.network.ask(self._group.commit, who, wanted)
        except Lost:
            raise KafkaException(kafka_error(KafkaError._TRANSPORT, retriable=True)) from None
        if code:
            if self._member is not None:
                self._member.refused(code)
            raise KafkaException(kafka_error(code))
        return [Offset(*place, one.offset, one.metadata) for place, one in wanted.items()]

    def _commit_answered(self, code: Any, wanted: dict[Place, Committed]) -> None:
        if isinstance(code, Lost):
            code = int(KafkaError._TRANSPORT)
        elif code and self._member is not None:
            self._member.refused(code)
        error = kafka_error(code) if code else None
        answer = [Offset(*place, one.offset, one.metadata, error) for place, one in wanted.items()]
        if self._on_commit is not None:
            self.reports.append((self._on_commit, (error, answer)))
            self.more()

    # ── Assignment ───────────────────────────────────────────────────────────────────────────────────────────────

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.world.boundary()
        self._changed_by_app = True
        self._drop(list(self._assigned))
        self._take(partitions)

    def incremental_assign(self, partitions: Iterable[TopicPartition]) -> None:
        self.world.boundary()
        self._changed_by_app = True
        self._take(partitions)

    def incremental_unassign(self, partitions: Iterable[TopicPartition]) -> None:
        self.world.boundary()
        self._changed_by_app = True
        self._drop([(tp.topic, tp.partition) for tp in partitions])

    def unassign(self) -> None:
        self.assign([])

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(*place) for place in self._assigned]

    def _take(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            cursor = Cursor(self.cluster.log(tp.topic, tp.partition), self.world.now_us)
            self._assigned[tp.topic, tp.partition] = cursor
            cursor.log.readers[self] = None
            self._place(cursor, tp.offset)

    def _drop(self, places: list[Place]) -> None:
        for place in places:
            cursor = self._assigned.pop(place, None)
            if cursor is not None:
                cursor.log.readers.pop(self, None)

    def _place(self, cursor: Cursor, offset: int) -> None:
        """Go to an offset; a logical one is asked for in the background."""
        cursor.ready_us = self.world.now_us + self.cluster.network.delay_us()
        if offset >= 0:
            cursor.position = offset
            self.world.at(cursor.ready_us - self.world.now_us, self.more, process=self.process)
            return
        cursor.position = None
        self.world.at(cursor.ready_us - self.world.now_us, self._resolve, cursor, offset, process=self.process)

    def _resolve(self, cursor: Cursor, offset: int) -> None:
        log = cursor.log
        place = (log.topic, log.partition)
        if cursor.position is not None or self._assigned.get(place) is not cursor:
            return
        if offset == OFFSET_BEGINNING:
            cursor.position = 0
        elif offset == OFFSET_END:
            cursor.position = log.stable if self._committed_only else len(log.entries)
        elif offset in (OFFSET_STORED, INVALID):
            found = self._group.committed([place], stable=self._committed_only)
            if not isinstance(found, dict):
                self.world.at(20_000, self._resolve, cursor, OFFSET_STORED, process=self.process)
                return
            if place in found:
                cursor.position = found[place].offset
            elif self._reset == "error":
                self.complain(KafkaError._AUTO_OFFSET_RESET)
            else:
                cursor.position = 0 if self._reset == "earliest" else log.stable
        self.more()

    def seek(self, partition: TopicPartition) -> None:
        self.world.boundary()
        cursor = self._assigned.get((partition.topic, partition.partition))
        if cursor is None or (cursor.app_position == INVALID and self._fresh(cursor)):
            raise KafkaException(kafka_error(KafkaError._STATE))
        cursor.app_position, cursor.eof_at = INVALID, -1
        self._place(cursor, partition.offset)

    def _fresh(self, cursor: Cursor) -> bool:
        return self.world.now_us - cursor.assigned_us < FRESH_US and bool(self.world.bits(1))

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._set_paused(partitions, True)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._set_paused(partitions, False)

    def _set_paused(self, partitions: Iterable[TopicPartition], paused: bool) -> None:
        self.world.boundary()
        for tp in partitions:
            if (cursor := self._assigned.get((tp.topic, tp.partition))) is not None:
                cursor.paused = paused

    def position(self, partitions: Iterable[TopicPartition]) -> list[Offset]:
        self.world.boundary()
        found = []
        for tp in partitions:
            cursor = self._assigned.get((tp.topic, tp.partition))
            found.append(Offset(tp.topic, tp.partition, cursor.app_position if cursor else INVALID))
        return found

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, timeout: float = 0.0) -> Any:
        thread = self.world.cost()
        if timeout <= 0.1:
            timeout *= PATIENCE
        deadline_us = self.world.now_us + int(timeout * 1e6)
        while True:
            self._serve()
            found = self._next()
            if found is not None:
                self.world.boundary()
                return found
            left_us = deadline_us - self.world.now_us
            if left_us <= 0:
                return None
            self.wait(thread, left_us)

    def consume(self, num_messages: int = 1, timeout: float = 0.0) -> list[Any]:
        thread = self.world.cost()
        found = self._some(num_messages)
        if timeout > 0 and len(found) < num_messages:
            thread.pause(int(timeout * PATIENCE * 1e6))
            found += self._some(num_messages - len(found))
        self.world.boundary()
        return found

    def _some(self, at_most: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < at_most:
            self._serve()
            message = self._next()
            if message is None:
                break
            found.append(message)
        return found

    def _next(self) -> Entry | ErrorMessage | None:
        """Return the next message that is there, partitions taking turns."""
        if self.errors:
            return self.errors.popleft()
        if self.process.cut_off_us:
            return None
        if (code := self._faults.reading_error()) is not None:
            return ErrorMessage(kafka_error(code), None, None, None)
        cursors = list(self._assigned.values())
        count, now_us = len(cursors), self.world.now_us
        for step in range(count):
            cursor = cursors[(self._turn + step) % count]
            if cursor.paused or cursor.position is None or cursor.ready_us > now_us:
                continue
            entries = cursor.log.entries
            end = cursor.log.stable if self._committed_only else len(entries)
            at = cursor.position
            while at < end:
                entry = entries[at]
                at += 1
                if not (hidden(entry) if self._committed_only else entry is None or entry.marker):
                    cursor.position = cursor.app_position = at
                    if not self.world.bits(3):
                        self._turn = (self._turn + step + 1) % count
                    return entry
            if at > cursor.position:
                cursor.position = cursor.app_position = at
            if self._eof and at == end and cursor.eof_at != at:
                cursor.eof_at = at
                return ErrorMessage(kafka_error(KafkaError._PARTITION_EOF), cursor.log.topic, cursor.log.partition, at)
        return None

    def _serve(self) -> None:
        """Let the application hear what happened since it last polled."""
        while self.reports:
            call, args = self.reports.popleft()
            call(*args)
        member = self._member
        if member is None:
            return
        while member.operations:
            self._hear(member)
        if member.fatal and not self._fatal_told:
            self._fatal_told = True
            self.errors.append(ErrorMessage(fatal_error(member.fatal), None, None, None))

    def _hear(self, member: Member) -> None:
        operation = member.operations.popleft()
        name = _CALLBACKS[operation[0]]

        def callback(partitions: list[TopicPartition]) -> None:
            self._changed_by_app = False
            self._callbacks[name](self, partitions)
            if not self._changed_by_app:
                places = [(tp.topic, tp.partition) for tp in partitions]
                self._take(partitions) if name == "on_assign" else self._drop(places)

        member.hear(operation, callback)

    def close(self) -> None:
        """Leave: what is assigned is revoked first, by the callback."""
        self.world.boundary()
        member = self._member
        if member is not None:
            member.leaving = True
            if member.held:
                member.tell(REVOKE, member.held)
            while member.operations:
                self._hear(member)
            member.close()
        self._drop(list(self._assigned))
        self.world.boundary()


_CALLBACKS = {ASSIGN: "on_assign", REVOKE: "on_revoke", LOSE: "on_lost"}


def fatal_error(code: int) -> KafkaError:
    """Return a fatal error as ``poll`` hands it out: the cause in the text, ``fatal()`` False (measured)."""
    text = "static consumer fenced by other consumer with same group.instance.id" if code else ""
    return KafkaError(KafkaError._FATAL, text, False, False, False)

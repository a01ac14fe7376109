"""One Kafka transaction after another, each with its input's offsets, and every ending told apart.

The rules are kafka-mechanics A; each place below names the one it keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from headrace.runtime.bounded import BoundedCall, within
from headrace.runtime.endings import RECORD_ERRORS, Ending, ending_of, group_generation
from headrace.runtime.kafka import ClientConfig
from headrace.schemas.codec import Record
from headrace.schemas.errors import CommitFailed, DependencyUnavailable, Fenced, SessionError, SessionLost

T = TypeVar("T")

Offsets = Mapping[tuple[str, int], int]
"""By topic and partition: the next offset to read."""

_POLL_S = 0.05
_CALL_S = 1.0
"""How long one call may block. Kafka's client takes the same call again where it left off, and in between the process
can say that it lives, and can be stopped."""
_CLOSE_S = 5.0
_SETTLE_S = 0.004
"""How long the broker is given to end a transaction after it has acknowledged the commit. A next one that comes to a
partition of it meanwhile is refused (CONCURRENT_TRANSACTIONS), and librdkafka tries again 20 ms later: back to back,
small transactions were measured to take 33 ms, and 7 ms with this pause between them."""
_RENEW_S = 10.0
"""A connection was lost since the last transaction: the producer is made anew, but not more often than this. While one
broker of many is away, its connections fail every second."""


class WriteRefused(CommitFailed):
    """The transaction was aborted because a record in it cannot be written at all."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a committed transaction left behind.

    Args:
        last_offsets: by partition of the tracked topic, the offset of its last record.
        seconds: from begin to the end of commit.
        places: of records with a `ref`: the ref, topic, partition and offset, in the order of each partition.
    """

    last_offsets: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    places: list[tuple[Any, str, int, int]] = field(default_factory=list)


class TransactionSession:
    """A transactional producer and the one order in which it is used. Belongs to one thread.

    Args:
        config: `runtime.kafka.transactional_config`.
        track: the topic whose written offsets are reported by `write`.
        timeout_s: how long one call is repeated before the session counts as lost.
        waiting: told the seconds that a call is repeated for by now, at least every `_CALL_S`. It may raise a
            `SessionLost` to wait no longer.
        make: builds the producer.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        track: str = "",
        timeout_s: float = 15.0,
        waiting: Callable[[float], None] = lambda _: None,
        make: Callable[[ClientConfig], Any] = Producer,
    ) -> None:
        self._config = {**config, "error_cb": self._client_error}
        self._track = track
        self._timeout_s = timeout_s
        self._expires_s = int(config.get("transaction.timeout.ms", 60_000)) / 1000
        self._waiting = waiting
        self._make = make
        self._producer: Any = None
        self._failures: list[KafkaError] = []
        self._last: dict[int, int] = {}
        self._places: list[tuple[Any, str, int, int]] = []
        self._disconnects = self._seen_disconnects = 0
        self._opened_at = 0.0
        self._doubtful = False
        self._committed_at = 0.0

    @property
    def transactional_id(self) -> str:
        """The id under which the broker knows this producer, whichever process runs it."""
        return str(self._config["transactional.id"])

    @property
    def is_open(self) -> bool:
        """Whether a transaction can begin."""
        return self._producer is not None

    def open(self) -> None:
        """Make the producer anew and take over its id: fences a predecessor and aborts what it left open.

        Raises:
            DependencyUnavailable: the broker does not answer in time, or refuses the id.
        """
        self.close()
        self._producer = self._make(self._config)
        self._doubtful, self._opened_at = False, time.monotonic()
        self._seen_disconnects = self._disconnects
        try:
            self._retry(lambda: self._producer.init_transactions(_CALL_S))
        except (SessionError, KafkaException) as error:
            self.close()
            cause = error.message if isinstance(error, SessionError) else error.args[0].str()
            raise DependencyUnavailable(
                f"no transaction can be made under {self.transactional_id}: {cause}",
                "is the broker up, and may this user write under that transactional id?",
            ) from None

    def close(self) -> None:
        """Drop the producer; what it had open is aborted by the next `open`, here or elsewhere."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # After a fatal error `close` raises that error again, having closed (measured).
            with suppress(KafkaException, TimeoutError):
                within(_CLOSE_S, lambda: _close(producer))

    def write(self, records: Iterable[Record], *, offsets: Offsets, group: Callable[[], bytes]) -> Committed:
        """Write records and the offsets they answer, all or nothing.

        1. Begin.
        2. Take the group's metadata and send the offsets: the broker refuses them from a fenced member (KIP-447).
           The broker is asked while the records are produced and flushed.
        3. Produce every record.
        4. Flush, so that every delivery is known.
        5. Wait for the answer about the offsets, also where something failed: an abort comes after it.
        6. Commit.

        Args:
            records: everything of one batch, decided and encoded before (A5: an open transaction waits for nothing).
            offsets: next offsets of every input partition whose state is written; never empty, since librdkafka sends
                nothing for an empty list, and then nothing fences a zombie (A1).
            group: the consumer's ``consumer_group_metadata``.

        Raises:
            WriteRefused: aborted; a record cannot be written. Decide the batch again with fewer records (A6).
            CommitFailed: aborted; nothing is visible. Decide the batch again.
            Fenced: another producer has this id.
            SessionLost: the ending is unknown. Open again and restore the state from the log.
        """
        assert offsets, "a transaction without offsets fences no zombie (kafka-mechanics A1)"
        if self._is_doubtful():
            self.open()
        if self._producer is None:
            raise SessionLost("there is no producer")
        time.sleep(max(0.0, self._committed_at + _SETTLE_S - time.monotonic()))
        began = time.perf_counter()
        self._failures.clear()
        self._last, self._places = {}, []
        try:
            self._retry(self._producer.begin_transaction)  # 1
            sending = self._send_offsets(offsets, group)  # 2
            try:
                self._produce(records)  # 3
                self._flush(sending)  # 4
            except BaseException:
                with suppress(KafkaException):  # What the records say tells whose fault it is.
                    self._sent(sending)  # 5
                raise
            self._sent(sending)  # 5
            self._end(lambda: self._producer.commit_transaction(_CALL_S))  # 6
        except KafkaException as error:
            raise self._ended_by(error.args[0]) from None
        except SessionError as error:
            raise self._aborted(error) from None
        self._committed_at = time.monotonic()
        return Committed(self._last, time.perf_counter() - began, self._places)

    def _is_doubtful(self) -> bool:
        """Whether a new producer is safer than this one."""
        if self._producer is None:
            return False
        self._serve()
        # A client that lost a broker may hold on to what it knew of it, see `_send_offsets`.
        lost = self._disconnects != self._seen_disconnects and time.monotonic() - self._opened_at > _RENEW_S
        return self._doubtful or lost

    def _produce(self, records: Iterable[Record]) -> None:
        produce, track = self._producer.produce, self._track
        for record in records:
            # librdkafka's own value for "let the partitioner choose" is −1.
            partition = -1 if record.partition is None else record.partition
            report: Any = self._tracked if record.topic == track else self._delivered
            if record.ref is not None:
                report = partial(self._placed, record.ref)
            arguments = (record.topic, record.value, record.key, partition, report)
            try:
                produce(*arguments, headers=record.headers)
            except BufferError:
                self._produce_late(arguments, record)

    def _produce_late(self, arguments: tuple[Any, ...], record: Record) -> None:
        """Produce once the local queue has room again."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            self._producer.poll(_POLL_S)
            try:
                self._producer.produce(*arguments, headers=record.headers)
            except BufferError:
                if time.monotonic() > deadline:
                    raise CommitFailed("the producer's queue did not empty") from None
            else:
                return

    def _flush(self, sending: BoundedCall[None]) -> None:
        """Wait until every delivery is known, or the offsets were refused: then the rest is not sent any more."""
        began = time.monotonic()
        try:
            while (left := self._producer.flush(_POLL_S)) and not self._failures and not sending.failed:
                if (waited := time.monotonic() - began) > self._timeout_s:
                    break
                self._waiting(waited)
        except SystemError as broken:
            # A fatal error, after which confluent-kafka 2.16 went on to deliver reports with the exception set
            # (measured where two processes have one id). The abort that follows brings it again, in its own words.
            raise CommitFailed(f"the client failed: {broken}") from None
        if self._failures:
            error = self._failures[0]
            kind = WriteRefused if error.code() in RECORD_ERRORS else CommitFailed
            raise kind(f"{len(self._failures)} records were not written: {error.str()}")
        if left and not sending.failed:
            raise CommitFailed(f"{left} records were not acknowledged within {self._timeout_s:g} s")

    def _send_offsets(self, offsets: Offsets, group: Callable[[], bytes]) -> BoundedCall[None]:
        metadata = group()
        if group_generation(metadata) < 0:
            raise CommitFailed("this consumer is no member of its group now")
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        producer = self._producer

        def send() -> None:
            self._retry(lambda: producer.send_offsets_to_transaction(positions, metadata, _CALL_S), quietly=True)

        return BoundedCall(send)

    def _sent(self, sending: BoundedCall[None]) -> None:
        try:
            # It does not keep its own timeout, and waits for ever for a coordinator that left the metadata, as every
            # restarted broker does for a moment (librdkafka 2.16, issues 5456 and 5511; measured). What it holds then
            # is left to it: the new producer's id fences it.
            sending.result(self._expires_s + 1.0, waiting=self._waiting)
        except TimeoutError as error:
            self._producer = None
            raise SessionLost(f"offsets were not sent: {error}") from None

    def _end(self, end: Callable[[], None]) -> None:
        """Commit or abort."""
        self._serve()
        before = self._disconnects
        self._retry(end)
        self._serve()
        # A connection lost meanwhile: librdkafka speaks transaction version 1, and its first EndTxn, still on the way,
        # could end the next transaction. A new producer epoch refuses it (A4).
        self._doubtful = self._disconnects != before

    def _serve(self, seconds: float = 0.0) -> None:
        """Let callbacks come. A fatal error is raised here as well; the next transactional call tells it better."""
        with suppress(KafkaException, SystemError):
            self._producer.poll(seconds)

    def _retry(self, call: Callable[[], T], *, quietly: bool = False) -> T:
        """Call until it ends: a retriable error means the same call again (A4).

        Args:
            quietly: whether somebody else says that we wait.
        """
        began = time.monotonic()
        while True:
            try:
                return call()
            except KafkaException as error:
                if ending_of(error.args[0]) is not Ending.RETRY:
                    raise
                waited = time.monotonic() - began
                if waited > self._timeout_s:
                    raise SessionLost(f"no answer in {self._timeout_s:g} s: {error.args[0].str()}") from None
                if quietly:
                    time.sleep(_POLL_S)
                else:
                    self._waiting(waited)
                    self._serve(_POLL_S)

    def _ended_by(self, error: KafkaError) -> SessionError:
        """Return our error for a Kafka error that ended a transaction, after the abort where one is due."""
        text = f"{error.name()}: {error.str()}"
        match ending_of(error):
            case Ending.FENCED:
                self.close()
                return Fenced(text)
            case Ending.ABORT:
                return self._aborted(CommitFailed(text))
            case Ending.LOST if error.code() in RECORD_ERRORS:
                # Refused by `produce` itself, before it was sent.
                return self._aborted(WriteRefused(text))
            case _:
                self.close()
                return SessionLost(text)

    def _aborted(self, cause: SessionError) -> SessionError:
        """Abort and return the cause; where not even that has a known ending, the session is lost."""
        if isinstance(cause, SessionLost | Fenced):
            self.close()
            return cause
        try:
            self._end(lambda: self._producer.abort_transaction(_CALL_S))
        except KafkaException as error:
            self.close()
            fenced = ending_of(error.args[0]) is Ending.FENCED
            return (Fenced if fenced else SessionLost)(f"{cause.message}; then the abort: {error.args[0].str()}")
        except SessionLost as error:
            self.close()
            return SessionLost(f"{cause.message}; then the abort: {error.message}")
        return cause

    def _delivered(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None and error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._failures.append(error)

    def _tracked(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._last[message.partition()] = message.offset()
        else:
            self._delivered(error, message)

    def _placed(self, ref: Any, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._places.append((ref, message.topic(), message.partition(), message.offset()))
        else:
            self._delivered(error, message)

    def _client_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            self._disconnects += 1


def _close(producer: Any) -> None:
    producer.purge()
    producer.close()


def abort_orphan(config: ClientConfig, transactional_id: str, *, timeout_s: float = 5.0) -> None:
    """Abort whatever a dead producer left open, by taking its id for a moment (kafka-mechanics A3).

    A live producer of that id is fenced by this and comes back under a new epoch, so it harms nobody who still works.

    Raises:
        SessionError: it could not be done; the broker aborts the orphan by itself after its transaction timeout.
    """
    session = TransactionSession({**config, "transactional.id": transactional_id}, timeout_s=timeout_s)
    try:
        session.open()
    except DependencyUnavailable as error:
        raise SessionError(error.message) from None
    finally:
        session.close()

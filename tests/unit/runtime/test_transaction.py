"""A transaction's offsets are sent beside its records; each ending is told by what caused it."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.runtime.transaction import TransactionSession, WriteRefused
from headrace.schemas.codec import Record
from headrace.schemas.errors import CommitFailed

ABORTABLE = KafkaError(KafkaError.ILLEGAL_GENERATION, "fenced", txn_requires_abort=True)


class Message:
    def topic(self) -> str:
        return "state"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class Producer:
    """Delivers when it is flushed; says in which order it was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.reports: list[Callable[..., Any]] = []
        self.refuses: KafkaError | None = None
        self.hangs = False
        self.breaks: Callable[[], None] = lambda: None
        """Called while a transaction ends."""
        self.offsets: Callable[[], None] = lambda: None

    def init_transactions(self, _timeout: float) -> None: ...

    def begin_transaction(self) -> None:
        self.calls.append("begin")

    def produce(self, _topic: str, _value: Any, _key: Any, _partition: int, report: Any, headers: Any) -> None:
        self.reports.append(report)

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        if self.hangs:
            time.sleep(timeout)
            return len(self.reports)
        for report in self.reports:
            report(self.refuses, Message())
        self.reports.clear()
        return 0

    def send_offsets_to_transaction(self, _positions: Any, _metadata: bytes, _timeout: float) -> None:
        try:
            self.offsets()
        finally:
            self.calls.append("offsets")

    def commit_transaction(self, _timeout: float) -> None:
        self.calls.append("commit")
        self.breaks()

    def abort_transaction(self, _timeout: float) -> None:
        self.calls.append("abort")
        self.breaks()

    def purge(self) -> None: ...

    def close(self) -> None: ...


def write(producer: Producer, session: TransactionSession | None = None) -> None:
    if session is None:
        session = TransactionSession({"transactional.id": "t"}, track="state", make=lambda _: producer)
        session.open()
    metadata = b"CGMDv2:" + struct.pack("<i", 1)
    session.write([Record("state", b"k", b"v", 0)], offsets={("jobs", 0): 1}, group=lambda: metadata)


def refuse_offsets() -> None:
    raise KafkaException(ABORTABLE)


def test_the_commit_waits_for_records_and_offsets() -> None:
    producer, flushed = Producer(), threading.Event()
    flush = producer.flush

    def flush_late(timeout: float) -> int:
        time.sleep(0.05)
        flushed.set()
        return flush(timeout)

    producer.flush = flush_late  # type: ignore[method-assign]
    producer.offsets = lambda: time.sleep(0.1) if flushed.wait(5) else None
    write(producer)
    assert producer.calls == ["begin", "offsets", "commit"]


def test_a_record_that_is_refused_is_told_though_the_offsets_fail_with_it() -> None:
    producer = Producer()
    producer.refuses = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "large")

    def later() -> None:
        time.sleep(0.1)
        raise KafkaException(ABORTABLE)

    producer.offsets = later
    with pytest.raises(WriteRefused, match="large"):
        write(producer)
    assert producer.calls == ["begin", "offsets", "abort"], "an abort comes after the answer about the offsets"


def test_refused_offsets_end_the_wait_for_records_that_are_not_sent_any_more() -> None:
    producer = Producer()
    producer.hangs, producer.offsets = True, refuse_offsets
    began = time.monotonic()
    with pytest.raises(CommitFailed, match="fenced"):
        write(producer)
    assert time.monotonic() - began < 2
    assert producer.calls == ["begin", "offsets", "abort"]


@pytest.mark.parametrize("ending", ["commit", "abort"])
@pytest.mark.parametrize("breaks", [True, False])
def test_a_connection_that_broke_while_a_transaction_ended_makes_a_new_producer_for_the_next(
    ending: str, breaks: bool
) -> None:
    """The request that was under way may arrive late, and would end the next transaction of the same producer."""
    made: list[Producer] = []

    def make(config: dict[str, Any]) -> Producer:
        made.append(Producer())
        if breaks and len(made) == 1:
            made[0].breaks = lambda: config["error_cb"](KafkaError(KafkaError._TRANSPORT, "broken"))
        if ending == "abort" and len(made) == 1:
            made[0].offsets = refuse_offsets
        return made[-1]

    session = TransactionSession({"transactional.id": "t"}, track="state", make=make)
    session.open()
    with pytest.raises(CommitFailed) if ending == "abort" else nullcontext():
        write(made[0], session)
    made[0].offsets = lambda: None
    write(made[-1], session)
    assert [producer.calls[-3:] for producer in made] == (
        [["begin", "offsets", ending], ["begin", "offsets", "commit"]] if breaks else [["begin", "offsets", "commit"]]
    )

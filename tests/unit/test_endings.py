"""The table of transactional endings, and the order of a transaction, against a producer that fails on request."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.runtime.endings import Ending, ending_of, group_generation
from headrace.runtime.transaction import TransactionSession, WriteRefused
from headrace.schemas.codec import Record
from headrace.schemas.errors import CommitFailed, Fenced, SessionError, SessionLost

MEMBER = b"CGMDv2:" + struct.pack("=i", 3) + b"g\x00m\x00i\x00"
NOBODY = b"CGMDv2:" + struct.pack("=i", -1) + b"g\x00\x00i\x00"


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    return KafkaError(code, "on purpose", fatal, retriable, abort)


class ScriptedProducer:
    """Notes each call; raises what the script holds for its name, once."""

    def __init__(self, script: dict[str, list[Any]]) -> None:
        self.script = script
        self.calls: list[str] = []
        self.full = 0
        self.failing: KafkaError | None = None

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.script.get(name):
            found = self.script[name].pop(0)
            raise found if isinstance(found, Exception) else KafkaException(found)

    def produce(self, _topic: str, _value: Any, _key: Any, _partition: int, report: Any, **_: Any) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self._call("produce")
        if self.failing is not None:
            report(self.failing, None)

    def flush(self, _timeout: float) -> int:
        self._call("flush")
        return 0

    def poll(self, _timeout: float) -> int:
        self._call("poll") if self.script.get("poll") else None
        return 0

    def purge(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self._call(name)


def session(**script: list[Any]) -> tuple[TransactionSession, ScriptedProducer]:
    producer = ScriptedProducer(script)
    made = TransactionSession({"transactional.id": "t"}, make=lambda _: producer)
    made.open()
    producer.calls.clear()
    return made, producer


def write(made: TransactionSession, *, metadata: bytes = MEMBER) -> None:
    made.write([Record("t", b"k", b"v", 0)], offsets={("jobs", 0): 7}, group=lambda: metadata)


OFFSETS = "send_offsets_to_transaction"
ORDER = ["begin_transaction", "produce", "flush", "commit_transaction"]


def on_the_loop(calls: list[str]) -> list[str]:
    """Return the calls without that of the offsets, which is made beside the records, before the commit."""
    begin, commit = calls.index("begin_transaction"), calls.index("commit_transaction")
    assert begin < calls.index(OFFSETS) < commit
    return [call for call in calls if call != OFFSETS]


def test_a_transaction_goes_in_its_order() -> None:
    made, producer = session()
    write(made)
    assert on_the_loop(producer.calls) == ORDER


def test_a_transaction_without_offsets_is_our_own_bug() -> None:
    made, _ = session()
    with pytest.raises(AssertionError, match="A1"):
        made.write([], offsets={}, group=lambda: MEMBER)


def test_a_retriable_error_means_the_same_call_again() -> None:
    made, producer = session(commit_transaction=[error(KafkaError._TIMED_OUT, retriable=True)] * 2)
    write(made)
    assert on_the_loop(producer.calls) == [*ORDER, "commit_transaction", "commit_transaction"]


@pytest.mark.parametrize("call", ["produce", "send_offsets_to_transaction", "commit_transaction"])
def test_an_abortable_error_aborts_and_the_session_goes_on(call: str) -> None:
    made, producer = session(**{call: [error(KafkaError.ILLEGAL_GENERATION, abort=True)]})
    with pytest.raises(CommitFailed):
        write(made)
    assert producer.calls[-1] == "abort_transaction"
    write(made)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (error(KafkaError._FENCED, fatal=True), Fenced),
        (error(KafkaError.INVALID_PRODUCER_EPOCH, fatal=True), Fenced),
        (error(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True), SessionLost),
        (error(KafkaError.UNKNOWN), SessionLost),
        (error(KafkaError._STATE), SessionLost),
    ],
)
def test_fatal_and_unknown_endings_lose_the_session(found: KafkaError, expected: type[SessionError]) -> None:
    made, _ = session(commit_transaction=[found])
    with pytest.raises(expected):
        write(made)
    assert not made.is_open
    with pytest.raises(SessionLost):
        write(made)


def test_an_abort_that_fails_loses_the_session() -> None:
    made, _ = session(
        commit_transaction=[error(KafkaError.UNKNOWN_MEMBER_ID, abort=True)],
        abort_transaction=[error(KafkaError.INVALID_TXN_STATE, fatal=True)],
    )
    with pytest.raises(SessionLost):
        write(made)
    assert not made.is_open


def test_a_fatal_error_that_the_client_hides_behind_its_callbacks_is_told_by_the_abort() -> None:
    hidden = SystemError("<method 'code' of 'KafkaError' objects> returned a result with an exception set")
    fenced = error(KafkaError._FENCED, fatal=True)
    made, _ = session(flush=[hidden], abort_transaction=[fenced])
    with pytest.raises(Fenced):
        write(made)
    assert not made.is_open


def test_a_fatal_error_that_comes_while_callbacks_are_served_is_told_by_the_next_call() -> None:
    fenced = error(KafkaError._FENCED, fatal=True)
    made, _ = session(poll=[fenced], begin_transaction=[fenced])
    with pytest.raises(Fenced):
        write(made)


def test_a_record_that_no_broker_takes_is_told_apart_from_an_outage() -> None:
    made, producer = session()
    producer.failing = error(KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(WriteRefused):
        write(made)
    producer.failing = error(KafkaError._MSG_TIMED_OUT)
    with pytest.raises(CommitFailed) as caught:
        write(made)
    assert not isinstance(caught.value, WriteRefused)


def test_offsets_are_refused_while_the_consumer_is_no_member() -> None:
    made, producer = session()
    with pytest.raises(CommitFailed, match="no member"):
        write(made, metadata=NOBODY)
    assert "send_offsets_to_transaction" not in producer.calls
    assert producer.calls[-1] == "abort_transaction"


def test_a_full_queue_is_waited_out() -> None:
    made, producer = session()
    producer.full = 3
    write(made)
    assert on_the_loop(producer.calls) == ORDER


def test_group_metadata_of_another_form_is_refused() -> None:
    assert group_generation(MEMBER) == 3
    assert group_generation(NOBODY) == -1
    with pytest.raises(SessionError, match="unknown form"):
        group_generation(b"CGMDv9:xxxx")


def test_every_error_has_an_ending_and_the_unknown_is_lost() -> None:
    assert ending_of(error(KafkaError._FENCED, fatal=True)) is Ending.FENCED
    assert ending_of(error(KafkaError.ILLEGAL_GENERATION, abort=True)) is Ending.ABORT
    assert ending_of(error(KafkaError._TRANSPORT, retriable=True)) is Ending.RETRY
    assert ending_of(error(KafkaError.UNKNOWN)) is Ending.LOST

"""The sender while Kafka is away: everything is kept, said, and given up as an error, never dropped."""

from __future__ import annotations

import socket
import time
from threading import Event
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from headrace.runtime.health import Heartbeats
from headrace.schemas.codec import Record
from headrace.schemas.errors import DependencyUnavailable
from headrace.workers.shell import sender as sender_module
from headrace.workers.shell.sender import ResultSender

RECORD = Record("t.results", b"j", b"{}", 0)


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def sender_at(closed_port):
    made = []

    def make(**options):
        failed = Event()
        config = {"bootstrap.servers": closed_port, "enable.idempotence": True, "log_level": 0}
        one = ResultSender(config, pool="p", on_failure=failed.set, heartbeats=Heartbeats(), **options)
        made.append(one)
        return one, failed

    yield make
    for one in made:
        one.close(0)


def test_while_kafka_is_away_everything_is_kept_and_the_worker_says_so(sender_at, monkeypatch):
    monkeypatch.setattr(sender_module, "SLOW_S", 0.3)
    sender, failed = sender_at()
    assert sender.trouble() is None
    finished = []
    for _ in range(3):
        sender.send(RECORD, finish=finished.append, kind="answer")
    assert sender.trouble() is None
    assert not failed.wait(0.6)
    assert "3 results" in sender.trouble()
    assert (sender.outstanding, finished, sender.failure) == (3, [], None)


def test_after_its_bound_the_worker_ends_with_a_clear_error_and_nothing_was_finished(sender_at):
    sender, failed = sender_at(give_up_s=0.3)
    finished = []
    sender.send(RECORD, finish=finished.append, kind="answer")
    assert failed.wait(5)
    assert isinstance(sender.failure, DependencyUnavailable)
    assert sender.failure.exit_code == 3
    assert "no record" in sender.failure.message
    assert not finished
    assert not sender.close(0.1)


class Producer:
    """A producer that answers at once, as it is told to; while it is held, only when it is released."""

    def __init__(self, config):
        self.held = False
        self.errors = {}
        self.produced = []
        self.due = []

    def produce(self, topic, value, key, partition, *, on_delivery, headers):
        self.produced.append((topic, value))
        self.due.append((on_delivery, len(self.produced) - 1, self.errors.pop(topic, None)))

    def poll(self, timeout):
        if not self.due or self.held:
            time.sleep(0.005)
        while self.due and not self.held:
            told, offset, error = self.due.pop(0)
            told(error, SimpleNamespace(offset=lambda offset=offset: offset))

    def purge(self, **_):
        pass


@pytest.fixture
def answered(monkeypatch):
    monkeypatch.setattr(sender_module, "Producer", Producer)
    monkeypatch.setattr(sender_module, "AGAIN_S", 0.05)
    failed = Event()
    sender = ResultSender({}, pool="p", on_failure=failed.set, heartbeats=Heartbeats())
    yield sender, failed
    sender.close(1)


def wait_for(check):
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_delivery_is_finished_once_with_the_place_of_its_first_record(answered):
    sender, _ = answered
    finished = []
    sender.send(Record("t.attempts.p", b"k", b"end", 0), RECORD, finish=finished.append, kind="ended")
    wait_for(lambda: finished)
    assert finished == [0]
    assert sender.close(1)


def test_what_is_answered_while_others_are_on_their_way_goes_together_once_they_arrived(answered, monkeypatch):
    monkeypatch.setattr(sender_module, "HOLD_S", 60.0)
    sender, _ = answered
    producer, finished = sender._producer, []
    producer.held = True
    for number in range(5):
        sender.send(RECORD._replace(value=b"%d" % number), finish=finished.append, kind="answer")
    time.sleep(0.05)
    assert [value for _, value in producer.produced] == [b"0"], "a lone answer waits for nobody"
    assert sender.outstanding == 5
    producer.held = False
    wait_for(lambda: len(finished) == 5)
    assert [value for _, value in producer.produced] == [b"0", b"1", b"2", b"3", b"4"]
    assert sender.close(1)


def test_what_hangs_holds_up_the_others_for_a_moment_only(answered):
    sender, _ = answered
    sender._producer.held = True
    for number in range(3):
        sender.send(RECORD._replace(value=b"%d" % number), finish=lambda _: None, kind="answer")
    wait_for(lambda: len(sender._producer.produced) == 3)
    assert sender.outstanding == 3
    sender._producer.held = False


def test_a_record_that_kafka_refuses_for_the_moment_is_sent_again_and_then_finished(answered):
    sender, failed = answered
    sender._producer.errors["t.results"] = KafkaError(KafkaError._UNKNOWN_PARTITION)
    finished = []
    sender.send(RECORD, finish=finished.append, kind="answer")
    wait_for(lambda: finished)
    assert len(sender._producer.produced) == 2
    assert not failed.is_set()


@pytest.mark.parametrize("refused", ["t.attempts.p", "t.results"])
def test_of_two_records_the_one_that_was_refused_is_sent_again_and_the_place_is_the_firsts(answered, refused):
    sender, _ = answered
    note = Record("t.attempts.p", b"k", b"end", 0)
    sender._producer.errors[refused] = KafkaError(KafkaError._UNKNOWN_PARTITION)
    finished = []
    sender.send(note, RECORD, finish=finished.append, kind="ended")
    wait_for(lambda: finished)
    topics = [topic for topic, _ in sender._producer.produced]
    assert topics == ["t.attempts.p", "t.results", refused]
    assert finished == [2 if refused == "t.attempts.p" else 0]


def test_a_record_that_kafka_refuses_for_good_ends_the_worker(answered):
    sender, failed = answered
    sender._producer.errors["t.results"] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    finished = []
    sender.send(RECORD, finish=finished.append, kind="answer")
    assert failed.wait(5)
    assert "t.results" in sender.failure.message
    assert not finished

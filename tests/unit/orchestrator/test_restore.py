"""Where a restored partition begins to read, and when that is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import OWNER_KEY, Cursor, Owner, cursor_key
from headrace.orchestrator.shell import restore
from headrace.orchestrator.shell.restore import Restorer
from headrace.orchestrator.shell.store import PartitionStore
from headrace.runtime.group_offsets import OffsetsHeld
from headrace.schemas.errors import DependencyUnavailable
from headrace.schemas.topics import Topics
from tests.world import World

TOPICS = Topics("t")


class Log:
    """One partition of everything: the offsets that Kafka tells, and a changelog with a cursor of `jobs`."""

    def __init__(self, cursor: int) -> None:
        self.ends = {TOPICS.state: 1, TOPICS.jobs: 5, TOPICS.results: 0}
        self.cursor = encode_record(Cursor(cursor))
        self.read = False
        self.standing_still = lambda: None
        self.held = False
        """Whether an open transaction has sent offsets."""
        self.aborted: list[str] = []
        self.asked: list[str] = []

    def committed(self, _group: Any, places: Any, *, held_s: float) -> dict[tuple[str, int], int]:
        self.asked.append("committed")
        if self.held:
            raise OffsetsHeld
        return dict.fromkeys(places, 3)

    def abort(self, transactional_id: str) -> None:
        self.aborted.append(transactional_id)
        self.held = False

    def answer(self, _admin: Any, places: Any, **_: Any) -> dict[tuple[str, int], int]:
        self.asked += dict.fromkeys(topic for topic, _ in places)
        return {(topic, p): self.ends[topic] for topic, p in places}

    def consumer(self, _config: Any) -> Any:
        return SimpleNamespace(assign=lambda _: None, poll=self.poll, consume=lambda *_: [], close=lambda: None)

    def poll(self, _timeout: float) -> Any:
        if self.read:
            return None
        self.standing_still()
        self.read = True
        key = cursor_key("jobs").encode()
        return SimpleNamespace(
            partition=lambda: 0, offset=lambda: 0, error=lambda: None, key=lambda: key, value=lambda: self.cursor
        )


def begin(log: Log, monkeypatch: pytest.MonkeyPatch) -> Restorer:
    monkeypatch.setattr(restore, "committed_offsets", log.committed)
    monkeypatch.setattr(restore, "ends", log.answer)
    monkeypatch.setattr(restore, "beginnings", lambda _admin, places: dict.fromkeys(places, 0))
    monkeypatch.setattr(restore, "Consumer", log.consumer)
    nobody: Any = None
    made = Restorer({}, topics=TOPICS, admin=nobody, own_id="o", abort=log.abort)
    made.begin(nobody, [PartitionStore(0, World().environment)])
    return made


def test_a_cursor_that_moved_on_while_its_reader_stood_still_is_no_log_that_was_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(cursor=8)
    log.standing_still = lambda: log.ends.update({TOPICS.jobs: 9})
    (restored,) = begin(log, monkeypatch).advance(0.0)
    assert restored.start[TOPICS.jobs] == 8


def test_a_cursor_beyond_the_end_of_its_log_begins_where_the_log_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    (restored,) = begin(Log(cursor=8), monkeypatch).advance(0.0)
    assert restored.start[TOPICS.jobs] == 5


class Orphaned(Log):
    """What another instance left: its id in the changelog, and an open transaction that has sent offsets."""

    def __init__(self) -> None:
        super().__init__(cursor=3)
        self.ends[TOPICS.state] = 1
        self.held = True
        self.records = [(OWNER_KEY, encode_record(Owner("dead")))]
        self.position = 0

    def poll(self, _timeout: float) -> Any:
        if not self.records:
            return None
        key, value = self.records.pop(0)
        offset, self.position = self.position, self.position + 1
        return SimpleNamespace(
            partition=lambda: 0, offset=lambda: offset, error=lambda: None, key=key.encode, value=lambda: value
        )

    def abort(self, transactional_id: str) -> None:
        """Its state may still have come before: what the successor then reads is longer."""
        super().abort(transactional_id)
        self.ends[TOPICS.state] = 2
        self.records = [(cursor_key("jobs"), encode_record(Cursor(4)))]


def test_offsets_that_a_dead_instance_holds_are_freed_and_the_end_of_state_is_asked_for_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Orphaned()
    made = begin(log, monkeypatch)
    assert made.advance(0.0) == []
    assert log.aborted == ["dead"]
    assert log.asked[-2:] == ["committed", TOPICS.state]
    (restored,) = made.advance(0.0)
    assert restored.start[TOPICS.jobs] == 4, "what was written after the first look at the end is read"


def test_offsets_that_nobody_frees_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Orphaned()
    log.records, log.ends[TOPICS.state] = [], 0
    made = begin(log, monkeypatch)
    assert made.advance(0.0) == []
    monkeypatch.setattr(restore, "STALE_S", 0.0)
    with pytest.raises(DependencyUnavailable, match="holds them"):
        made.advance(0.0)


def test_a_reader_that_brings_nothing_is_made_anew_and_what_it_waits_for_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, made, closed = Log(cursor=3), [], []
    now = SimpleNamespace(monotonic=lambda: at[0])
    at = [0.0]
    monkeypatch.setattr(restore, "time", now)
    monkeypatch.setattr(restore, "stable_ends", log.answer)

    def consumer(_config: Any) -> Any:
        """The first one is stuck, as a client was after its broker came back."""
        made.append([])
        poll = log.poll if len(made) > 1 else lambda _timeout: None
        return SimpleNamespace(
            assign=made[-1].append, poll=poll, consume=lambda *_: [], close=lambda: closed.append(len(made))
        )

    monkeypatch.setattr(log, "consumer", consumer)
    restorer = begin(log, monkeypatch)
    with capture_logs() as said:
        for at[0] in (0.1, restore.STALL_S):
            assert restorer.advance(0.0) == []
        assert len(made) == 1, "no earlier than it must"
        at[0] = restore.STALL_S + 0.2
        assert restorer.advance(0.0) == []
    assert (len(made), closed) == (2, [1])
    ((place,),) = made[1]
    assert (place.partition, place.offset) == (0, 0)
    (line,) = said
    assert line["event"] == "restore.stalled"
    assert line["waits"] == [
        {"partition": 0, "next": 0, "end": 1, "stable_end": 1, "stopped_at": None, "seconds": restore.STALL_S + 0.2}
    ]
    (restored,) = restorer.advance(0.0)
    assert restored.start[TOPICS.jobs] == 3


def test_a_reader_that_comes_on_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log, made = Log(cursor=3), []
    log.ends[TOPICS.state] = 9
    at = [0.0]
    monkeypatch.setattr(restore, "time", SimpleNamespace(monotonic=lambda: at[0]))
    message = SimpleNamespace(partition=lambda: 0, error=lambda: None, key=lambda: b"cursor/jobs", value=lambda: b"")

    def poll(_timeout: float) -> Any:
        """One record a turn, each of them after a long while."""
        return SimpleNamespace(**vars(message), offset=lambda: int(at[0]))

    monkeypatch.setattr(log, "poll", poll)
    monkeypatch.setattr(restore, "STALL_S", 0.9)
    consumer = log.consumer
    monkeypatch.setattr(log, "consumer", lambda config: made.append(1) or consumer(config))
    restorer = begin(log, monkeypatch)
    for second in range(8):
        at[0] = float(second)
        assert restorer.advance(0.0) == []
    assert len(made) == 1

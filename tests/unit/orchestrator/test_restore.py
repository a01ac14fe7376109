"""Where a restored partition begins to read, and when that is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import Cursor, cursor_key
from headrace.orchestrator.shell import restore
from headrace.orchestrator.shell.restore import Restorer
from headrace.orchestrator.shell.store import PartitionStore
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

    def answer(self, _admin: Any, places: Any, **_: Any) -> dict[tuple[str, int], int]:
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
    monkeypatch.setattr(restore, "committed_offsets", lambda _group, places: dict.fromkeys(places, 3))
    monkeypatch.setattr(restore, "ends", log.answer)
    monkeypatch.setattr(restore, "beginnings", lambda _admin, places: dict.fromkeys(places, 0))
    monkeypatch.setattr(restore, "Consumer", log.consumer)
    nobody: Any = None
    made = Restorer({}, topics=TOPICS, admin=nobody, own_id="o", abort=lambda _: None)
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

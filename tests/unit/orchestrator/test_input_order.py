"""Records that wait hold up what follows them where they lie, and nothing else; no record is lost or overtaken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.shell import input as input_module
from headrace.orchestrator.shell.input import Input, Read
from headrace.runtime.letters import Source
from headrace.schemas.errors import SessionLost

places = st.tuples(st.sampled_from(["jobs", "results"]), st.integers(0, 2))


class Consumer:
    """Notes which places are paused."""

    def __init__(self) -> None:
        self.paused: set[tuple[str, int]] = set()

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self.paused -= {(place.topic, place.partition) for place in places}


def filled(where: list[tuple[str, int]]) -> tuple[Input, list[Read]]:
    assignment: Any = SimpleNamespace()
    membership: Any = SimpleNamespace(consumer=Consumer())
    made = Input(membership, assignment=assignment, working={}, results="results")
    reads = [Read(Source(topic, p, offset, None, b""), 0) for offset, (topic, p) in enumerate(where)]
    made._queue.extend(reads)
    return made, reads


def test_a_consumer_that_never_seeks_again_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose fetching ended at an offset that is gone answers "Erroneous state" for ever (found by tests/chaos)."""

    def seek(_place: TopicPartition) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    made, _ = filled([])
    monkeypatch.setattr(input_module, "SEEK_S", 0.02)
    monkeypatch.setattr(made.consumer, "seek", seek, raising=False)
    with pytest.raises(SessionLost, match="seek"):
        made.start(0, {"jobs": 5})
    assert made._membership.broken


@given(st.lists(places, max_size=30), st.lists(st.booleans(), min_size=400, max_size=400), st.booleans())
def test_each_place_is_decided_in_order_whatever_has_to_wait_or_is_aborted(
    where: list[tuple[str, int]], waits: list[bool], abort: bool
) -> None:
    made, reads = filled(where)
    again = iter(waits)
    decided: list[Read] = []
    for _ in range(200):
        batch = []
        while (read := made.take()) is not None:
            if next(again, False):
                made.set_back()
            else:
                batch.append(read)
        made.release(100)
        if abort and next(again, False):
            assert made.untake() == len(batch)
            continue
        decided += batch
        made.applied()
    assert sorted(read.source.offset for read in decided) == list(range(len(reads)))
    for place in set(where):
        offsets = [r.source.offset for r in decided if (r.source.topic, r.source.partition) == place]
        assert offsets == sorted(offsets)


def test_what_waits_lets_other_partitions_and_topics_pass_and_is_still_unread() -> None:
    made, _ = filled([("results", 0), ("results", 0), ("jobs", 0), ("results", 1)])
    assert made.take() is not None
    made.set_back()
    passed = []
    while (read := made.take()) is not None:
        passed.append((read.source.topic, read.source.partition))
    assert passed == [("jobs", 0), ("results", 1)]
    assert made.unread() == {0}
    assert made.release(100) == 2
    made.applied()
    assert made.waiting() == 2
    first = made.take()
    assert first is not None
    assert first.source.offset == 0


def test_a_place_of_which_too_much_waits_is_paused_until_its_first_record_is_decided() -> None:
    made, _ = filled([("results", 0)] * 5 + [("jobs", 1)])
    stuck = ("results", 0)

    def turn(*, store_is_away: bool) -> int:
        while (read := made.take()) is not None:
            if store_is_away and (read.source.topic, read.source.partition) == stuck:
                made.set_back()
        held = made.release(3)
        made.applied()
        return held

    assert turn(store_is_away=True) == 5
    assert made.consumer.paused == {stuck}
    assert turn(store_is_away=True) == 5
    assert turn(store_is_away=False) == 0
    assert made.consumer.paused == set()


def test_a_partition_that_left_while_it_was_paused_is_not_resumed() -> None:
    made, _ = filled([("results", 0)] * 5)
    made.take()
    made.set_back()
    made.take()
    made.release(3)
    made.drop(0)
    made.take()
    made.release(3)
    assert made.consumer.paused == {("results", 0)}, "it is the next owner's"

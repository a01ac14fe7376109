"""Records that wait hold up what follows them where they lie, and nothing else; no record is lost or overtaken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.shell.input import Input, Read
from headrace.orchestrator.shell.letters import Source

places = st.tuples(st.sampled_from(["jobs", "results"]), st.integers(0, 2))


def filled(where: list[tuple[str, int]]) -> tuple[Input, list[Read]]:
    assignment: Any = SimpleNamespace()
    made = Input(None, assignment=assignment, working={}, results="results")
    reads = [Read(Source(topic, p, offset, None, b""), 0) for offset, (topic, p) in enumerate(where)]
    made._queue.extend(reads)
    return made, reads


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
        made.release()
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
    assert made.release() == 2
    made.applied()
    assert made.waiting() == 2
    first = made.take()
    assert first is not None
    assert first.source.offset == 0

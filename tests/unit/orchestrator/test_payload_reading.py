"""The object store as the loop uses it: read once, side by side, and never waited for for long."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from headrace.orchestrator.shell.payloads import LOST_AFTER, PATIENCE_S, Payloads
from headrace.schemas.errors import ContractError, DependencyUnavailable
from headrace.schemas.messages import ObjectRef
from headrace.schemas.object_keys import claim_check


class Shelf:
    """A store in memory that can be slow, away, or unwilling with one key."""

    place = "shelf"

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.slow = threading.Event()
        self.slow.set()
        self.down = False
        self.unwilling = ""

    def keep(self, content: bytes) -> ObjectRef:
        ref = claim_check(content)
        self.content[ref.key] = content
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        self.read[ref.key] += 1
        self.slow.wait(10)
        if self.down or ref.key == self.unwilling:
            raise DependencyUnavailable(f"cannot read {ref.key}")
        if ref.key not in self.content:
            raise ContractError(f"object {ref.key} is not on the shelf", kind="gone")
        return self.content[ref.key]

    def put(self, content: bytes) -> ObjectRef:
        ref = claim_check(content)
        self.written[ref.key] += 1
        self.slow.wait(10)
        if self.down:
            raise DependencyUnavailable("cannot write")
        return self.keep(content)

    def probe(self) -> None:
        if self.down:
            raise DependencyUnavailable("down")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def make(shelf: Shelf) -> Iterator[Callable[..., Payloads]]:
    made: list[Payloads] = []

    def payloads(cache_bytes: int = 1_000, **options: object) -> Payloads:
        made.append(Payloads(shelf, cache_bytes=cache_bytes, **options))  # type: ignore[arg-type]
        return made[-1]

    yield payloads
    shelf.slow.set()
    for one in made:
        one.close()


def insist(act: Callable[[], object], payloads: Payloads, *, seconds: float = 10.0) -> object:
    """Do what the loop does: come round until it works."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except DependencyUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.005)
            payloads.begin_round()


def test_what_was_read_is_read_once(shelf: Shelf, make: Callable[..., Payloads]) -> None:
    payloads, ref = make(), shelf.keep(b"content")
    assert [payloads.load(ref) for _ in range(3)] == [b"content"] * 3
    assert shelf.read[ref.key] == 1


def test_what_is_kept_is_bounded_by_its_bytes(shelf: Shelf, make: Callable[..., Payloads]) -> None:
    payloads, refs = make(1_000), [shelf.keep(bytes([number]) * 300) for number in range(5)]
    for ref in refs:
        payloads.load(ref)
    assert [payloads.load(ref) for ref in reversed(refs[2:])]
    assert sum(shelf.read.values()) == 5
    payloads.load(refs[0])
    assert shelf.read[refs[0].key] == 2


def test_a_slow_store_holds_up_one_round_for_no_longer_than_the_patience_however_many_are_asked_for(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads, refs = make(), [shelf.keep(bytes([number])) for number in range(20)]
    shelf.slow.clear()
    for _ in range(2):
        payloads.begin_round()
        began = time.monotonic()
        for ref in refs:
            with pytest.raises(DependencyUnavailable, match="is being read from shelf"):
                payloads.load(ref)
        assert PATIENCE_S * 0.9 < time.monotonic() - began < PATIENCE_S + 1.0
    shelf.slow.set()
    assert [insist(lambda ref=ref: payloads.load(ref), payloads) for ref in refs] == [bytes([n]) for n in range(20)]  # type: ignore[misc]
    assert set(shelf.read.values()) == {1}, "what is under way is not begun again"


def test_what_is_expected_is_read_side_by_side_as_far_as_there_is_room(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads, refs = make(1_000), tuple(shelf.keep(bytes([number]) * 300) for number in range(10))
    shelf.slow.clear()
    payloads.expect(refs)
    deadline = time.monotonic() + 5
    while sum(shelf.read.values()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.05)
    assert [shelf.read[ref.key] for ref in refs] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_an_object_that_is_gone_is_said_to_be_and_not_asked_for_again_for_each_item(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads, ref = make(), claim_check(b"never stored")
    for _ in range(5):
        with pytest.raises(ContractError, match="is not on the shelf"):
            payloads.load(ref)
    assert shelf.read[ref.key] == 1


def test_a_store_that_is_away_is_asked_again_with_growing_pauses_and_makes_the_process_unready(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    now = [100.0]
    payloads, ref = make(clock=lambda: now[0]), shelf.keep(b"content")
    shelf.down = True
    tries = []
    for _ in range(200):
        payloads.begin_round()
        with pytest.raises(DependencyUnavailable):
            payloads.load(ref)
        tries.append(shelf.read[ref.key])
        now[0] += 0.1
    assert 6 <= tries[-1] <= 10, "twenty seconds"
    assert payloads.trouble() is not None
    shelf.down = False
    now[0] += 5
    assert payloads.load(ref) == b"content"
    assert payloads.trouble() is None


def test_an_object_that_a_working_store_never_gives_is_lost_in_the_end(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    now = [100.0]
    payloads, ref = make(clock=lambda: now[0]), shelf.keep(b"content")
    shelf.unwilling = ref.key
    for _ in range(LOST_AFTER - 1):
        with pytest.raises(DependencyUnavailable):
            payloads.load(ref)
        now[0] += 10
    with pytest.raises(ContractError, match="which answers otherwise"):
        payloads.load(ref)


def test_an_object_of_a_store_that_is_down_is_never_lost(shelf: Shelf, make: Callable[..., Payloads]) -> None:
    now = [100.0]
    payloads, ref = make(clock=lambda: now[0]), shelf.keep(b"content")
    shelf.down = True
    for _ in range(LOST_AFTER * 3):
        with pytest.raises(DependencyUnavailable):
            payloads.load(ref)
        now[0] += 10


def test_a_decision_that_needs_more_than_the_cache_holds_is_made_all_the_same(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads, refs = make(1_000), [shelf.keep(bytes([number]) * 300) for number in range(10)]
    get = shelf.get

    def slowly(ref: ObjectRef) -> bytes:
        time.sleep(0.15)
        return get(ref)

    shelf.get = slowly  # type: ignore[method-assign]
    whole = insist(lambda: [payloads.load(ref) for ref in refs], payloads, seconds=15)
    assert whole == [bytes([number]) * 300 for number in range(10)]


def test_what_was_put_can_be_read_before_it_is_written_and_is_written_once(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads = make()
    shelf.slow.clear()
    began = time.monotonic()
    refs = [payloads.put(bytes([number]) * 10) for number in range(100)]
    assert time.monotonic() - began < 1.0
    assert payloads.load(refs[7]) == bytes([7]) * 10
    assert payloads.put(bytes([7]) * 10) == refs[7]
    shelf.slow.set()
    payloads.settle()
    assert len(shelf.content) == 100
    payloads.put(bytes([7]) * 10)
    payloads.settle()
    assert set(shelf.written.values()) == {1}
    assert not shelf.read


def test_a_transaction_does_not_begin_before_its_objects_are_written(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    payloads = make()
    shelf.down = True
    payloads.put(b"content")
    with pytest.raises(DependencyUnavailable):
        payloads.settle()
    assert payloads.trouble() is not None
    shelf.down = False
    ref = payloads.put(b"content")
    payloads.settle()
    assert shelf.content[ref.key] == b"content"
    assert payloads.trouble() is None


def test_content_written_long_ago_is_put_again_for_it_may_have_been_swept(
    shelf: Shelf, make: Callable[..., Payloads]
) -> None:
    now = [0.0]
    payloads = make(written_s=60.0, clock=lambda: now[0])
    for at, times in ((0, 1), (59, 1), (61, 2)):
        now[0] = at
        ref = payloads.put(b"content")
        payloads.settle()
        assert shelf.written[ref.key] == times

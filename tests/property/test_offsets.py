"""Laws of the offset tracker: nothing undone is ever committed, nothing done is forgotten, lag reaches 0."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.schemas.completed import MAX_CHARS, Progress, decode, encode, encode_commit, progress_of
from headrace.workers.core.offsets import OffsetTracker

BASES = st.integers(0, 1 << 40)


@st.composite
def spans_above(draw):
    base = draw(BASES)
    lengths = draw(st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)), max_size=60))
    spans, at = [], base
    for undone, done in lengths:
        spans.append((at + undone, at + undone + done))
        at += undone + done
    return base, spans


@given(spans_above())
def test_what_metadata_says_is_read_back_unchanged(case):
    base, spans = case
    assert decode(base, encode(base, spans)) == spans


@given(BASES, st.lists(st.booleans(), max_size=40_000))
@settings(max_examples=60)
def test_metadata_never_exceeds_its_limit_and_never_claims_more_than_is_done(base, done):
    spans = []
    for place, flag in enumerate([False, *done]):
        if flag and spans and spans[-1][1] == base + place:
            spans[-1] = (spans[-1][0], base + place + 1)
        elif flag:
            spans.append((base + place, base + place + 1))
    text = encode(base, spans)
    assert len(text) <= MAX_CHARS
    claimed = {offset for start, end in decode(base, text) for offset in range(start, end)}
    assert claimed <= {offset for start, end in spans for offset in range(start, end)}


@given(BASES, st.text(max_size=200) | st.from_regex(r"\A1[rb]:[A-Za-z0-9+/]{0,200}={0,2}\Z"))
def test_broken_metadata_is_no_error(base, text):
    for start, end in decode(base, text):
        assert base <= start < end


class Partition(RuleBasedStateMachine):
    """A log with records and markers, a worker that crashes, and Kafka's memory of one group."""

    def __init__(self):
        super().__init__()
        self.tracker = OffsetTracker()
        self.log: list[bool] = []  # True: a record; False: a marker that no application sees
        self.position = 0
        self.done: set[int] = set()
        self.running: set[int] = set()
        self.kafka = (0, "")
        self.started_twice_after_commit: set[int] = set()
        self.epoch = self.tracker.assign(0, committed=0, metadata="")

    @rule(records=st.lists(st.sampled_from([True, True, True, False]), min_size=1, max_size=30))
    def append(self, records):
        self.log += records

    @rule(count=st.integers(1, 20))
    def read(self, count):
        while count and self.position < len(self.log):
            if self.log[self.position]:
                known = self.position in self.known_done
                if self.tracker.deliver(0, self.position):
                    assert not known, "a record whose completion was committed is given out again"
                    self.running.add(self.position)
                else:
                    assert self.position in self.done
                count -= 1
            self.position += 1
        self.tracker.advance(0, self.position)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        offset = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(offset)
        self.done.add(offset)
        assert self.tracker.complete(0, self.epoch, offset)
        assert not self.tracker.complete(0, self.epoch, offset)

    @rule(arrives=st.booleans())
    def commit(self, arrives):
        for commit in self.tracker.committable():
            if arrives:
                self.kafka = (commit.offset, commit.metadata)
                self.tracker.committed(commit)
            else:
                self.tracker.refused(commit)

    @rule(broken=st.booleans())
    def crash(self, broken):
        if broken:
            self.kafka = (self.kafka[0], "2?:nonsense")
        old = self.epoch
        self.running.clear()
        self.tracker = self.tracker if broken else OffsetTracker()
        self.epoch = self.tracker.assign(0, committed=self.kafka[0], metadata=self.kafka[1])
        if broken and self.position:
            assert not self.tracker.complete(0, old, self.position - 1)
        self.position = self.kafka[0]

    @property
    def known_done(self):
        return {offset for start, end in decode(*self.kafka) for offset in range(start, end)}

    def is_done(self, offset):
        return not self.log[offset] or offset in self.done

    @invariant()
    def nothing_undone_is_committed(self):
        assert all(self.is_done(offset) for offset in range(self.kafka[0]))
        assert all(self.is_done(offset) for offset in self.known_done)

    @invariant()
    def the_count_is_right(self):
        assert self.tracker.incomplete == len(self.running) == self.tracker.running_in(0)

    def teardown(self):
        self.read(len(self.log) + 1)
        for offset in sorted(self.running, reverse=True):
            self.running.discard(offset)
            self.done.add(offset)
            self.tracker.complete(0, self.epoch, offset)
        self.commit(arrives=True)
        assert self.kafka == (len(self.log), ""), "lag does not reach 0"


TestPartition = Partition.TestCase


def test_a_log_that_was_made_anew_is_worked_on_although_a_higher_offset_is_committed():
    tracker = OffsetTracker()
    tracker.assign(0, committed=100, metadata=encode(100, [(101, 200)]))
    assert tracker.deliver(0, 0)
    assert [commit.offset for commit in tracker.committable()] == [0]


def test_one_stuck_record_does_not_stop_intake_but_thousands_of_scattered_ones_do():
    tracker = OffsetTracker()
    epoch = tracker.assign(0, committed=0)
    for offset in range(50_000):
        tracker.deliver(0, offset)
        if offset:
            tracker.complete(0, epoch, offset)
    assert not tracker.crowded(0)
    for offset in range(50_000, 100_000, 2):
        tracker.deliver(0, offset)
    assert tracker.crowded(0)


def test_a_commit_that_was_refused_is_due_again_and_one_that_was_taken_is_not():
    tracker = OffsetTracker()
    epoch = tracker.assign(3, committed=5)
    assert tracker.committable() == []
    tracker.deliver(3, 5)
    tracker.complete(3, epoch, 5)
    (commit,) = tracker.committable()
    assert tracker.committable() == []
    tracker.refused(commit)
    assert tracker.committable() == [commit]
    tracker.committed(commit)
    assert tracker.committable() == []


@given(st.integers(0, 1 << 40), st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_commit_says_how_far_its_worker_is_and_what_is_done(base: int, taken: int, in_flight: int) -> None:
    spans = [(base + 2, base + 3), (base + 5, base + 9)]
    progress = Progress(base + taken, in_flight)
    text = encode_commit(base, spans, progress)
    assert progress_of(base, text) == progress
    assert decode(base, text) == decode(base, encode(base, spans)) == spans


@given(st.text(max_size=60))
def test_metadata_that_nobody_wrote_says_nothing(text: str) -> None:
    found = progress_of(7, text)
    assert found.read_to >= 7
    if not text.startswith("2:"):
        assert found == Progress(7, 0)


def test_a_prefix_in_the_middle_is_no_prefix() -> None:
    assert decode(0, "1b:Bg2:1:1;==") == []
    assert progress_of(0, "1b:Bg2:1:1;==") == Progress(0, 0)


def test_the_longest_commit_fits() -> None:
    spans = [(base, base + 1) for base in range(1, 1 << 20, 129)]
    assert len(encode_commit(0, spans, Progress((1 << 39), 10**11))) <= MAX_CHARS


def test_what_was_let_go_waits_again_and_is_not_in_flight() -> None:
    tracker = OffsetTracker()
    epoch = tracker.assign(0, committed=0)
    for offset in range(20):
        tracker.deliver(0, offset)
    for offset in range(4):
        tracker.complete(0, epoch, offset)
    for offset in range(8, 20):
        tracker.drop(0, epoch, offset)
    (commit,) = tracker.committable()
    assert progress_of(commit.offset, commit.metadata) == Progress(8, 4)
    assert tracker.running_in(0) == 4
    for offset in range(4, 8):
        tracker.complete(0, epoch, offset)
    (commit,) = tracker.committable()
    assert (commit.offset, commit.metadata) == (8, "")

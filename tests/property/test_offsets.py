"""Laws of the offset tracker: nothing undone is ever committed, nothing done is forgotten, lag reaches 0."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.schemas.completed import MAX_CHARS, Progress, decode, encode, encode_commit, progress_of
from headrace.schemas.messages import Attempt, Lane, Result
from headrace.workers.core.journal import JournalIndex
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
    """A log with records and markers, its journal, workers that crash or give it back, and Kafka's memory of a group.

    A call begins when its start is acknowledged. What was sent and not acknowledged at a crash may have been written.
    """

    def __init__(self):
        super().__init__()
        self.log: list[bool] = []  # True: a record; False: a marker that no application sees
        self.journal: list[Attempt] = []
        self.beside: set[int] = set()
        """Starts that a worker wrote whose last commit was lost, after another had read the journal: nobody knows of
        them, see docs/guarantees.md on calls begun beside the new owner."""
        self.kafka = (0, "")
        self.done: set[int] = set()  # answered: results are acknowledged
        self.called: set[int] = set()
        self.handed_over: set[int] = set()
        self.take_over()

    # What a worker does

    def take_over(self):
        """Assign the partition to a worker that knows Kafka and nothing else."""
        self.tracker = OffsetTracker()
        offset, metadata = self.kafka
        start = progress_of(offset, metadata).journal
        noted = JournalIndex(Lane.BATCH, base=offset, done=decode(offset, metadata))
        for at, note in enumerate(self.journal):
            if at >= (start or 0):
                noted.add(note, at=at, size_bytes=1)
        self.epoch = self.tracker.assign(
            0, committed=offset, metadata=metadata, journal_next=len(self.journal), noted=noted
        )
        self.position = offset
        self.buffered: set[int] = set()
        self.dropped: set[int] = set()
        self.starting: set[int] = set()  # the start is sent and not acknowledged
        self.running: set[int] = set()

    def write(self, phase, offset, lane=Lane.BATCH):
        result = Result(task_id=f"t/{offset}", job_id="t", attempt=1) if phase == "ended" else None
        note = {"phase": phase, "at_ms": 0, "worker": "w", "lane": lane, "offset": offset, "result": result}
        self.journal.append(Attempt(task_id=f"{'t' if lane is Lane.BATCH else 'u'}/{offset}", attempt=1, **note))
        return len(self.journal) - 1

    def answer(self, offset, *, journalled=True):
        at = self.write("ended", offset) if journalled else None
        self.done.add(offset)
        assert self.tracker.complete(0, self.epoch, offset, at)
        assert not self.tracker.complete(0, self.epoch, offset, at)

    @rule(records=st.lists(st.sampled_from([True, True, True, False]), min_size=1, max_size=30))
    def append(self, records):
        self.log += records

    @rule(count=st.integers(1, 20))
    def read(self, count):
        while count and self.position < len(self.log):
            if self.log[self.position]:
                self.deliver(self.position)
                count -= 1
            self.position += 1
        self.tracker.advance(0, self.position)

    def deliver(self, offset):
        known = offset in self.said_done
        if not self.tracker.deliver(0, offset):
            assert offset in self.done | self.handed_over
            return
        assert not known, "a record whose completion was committed is given out again"
        noted = self.tracker.noted(0, offset)
        if noted is None:
            assert offset not in self.called, "a call would be made twice"
            self.buffered.add(offset)
        else:
            assert (noted.task_id, noted.attempt) == (f"t/{offset}", 1)
            self.answer(offset, journalled=noted.result is None)

    @precondition(lambda self: self.buffered)
    @rule(data=st.data())
    def start(self, data):
        offset = data.draw(st.sampled_from(sorted(self.buffered)))
        self.buffered.remove(offset)
        self.starting.add(offset)

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def begin(self, data):
        offset = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.remove(offset)
        self.tracker.begin(0, self.epoch, offset, self.write("started", offset))
        self.called.add(offset)
        self.running.add(offset)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        offset = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(offset)
        self.answer(offset)

    @precondition(lambda self: self.buffered)
    @rule(data=st.data())
    def finish_at_once(self, data):
        offset = data.draw(st.sampled_from(sorted(self.buffered)))
        self.buffered.remove(offset)
        self.answer(offset)

    @precondition(lambda self: self.buffered)
    @rule(data=st.data())
    def let_go(self, data):
        offset = data.draw(st.sampled_from(sorted(self.buffered)))
        self.buffered.remove(offset)
        self.dropped.add(offset)
        self.tracker.drop(0, self.epoch, offset)

    @rule(offset=st.integers(0, 50))
    def another_lane_journals(self, offset):
        self.write("started", offset, Lane.INTERACTIVE)

    @rule(arrives=st.booleans())
    def commit(self, arrives):
        for commit in self.tracker.committable():
            if arrives:
                self.kafka = (commit.offset, commit.metadata)
                self.tracker.committed(commit)
            else:
                self.tracker.refused(commit)

    # How an assignment ends

    @rule(data=st.data(), broken=st.booleans())
    def crash(self, data, broken):
        for offset in sorted(self.starting):
            if data.draw(st.booleans()):
                self.write("started", offset)
        if broken:
            self.kafka = (self.kafka[0], "3:nonsense")
        old, before = self.tracker, self.epoch
        self.take_over()
        self.tracker, fresh = old, self.tracker
        self.tracker.revoke(0)
        if self.log:
            assert not self.tracker.complete(0, before, len(self.log) - 1)
        self.tracker = fresh

    @rule(arrives=st.booleans())
    def give_back(self, arrives):
        """Revoke: what has not started is let go, what runs is handed over and finished later, here by nobody."""
        for offset in sorted(self.buffered):
            self.tracker.drop(0, self.epoch, offset)
        under_way = self.running | self.starting
        assert self.tracker.hand_over(0, until_ms=9, now_ms=1) == len(under_way)
        assert self.tracker.hand_over(0, until_ms=9, now_ms=1) == 0
        if arrives:
            self.handed_over |= under_way
        self.commit(arrives)
        if under_way and arrives:
            said = progress_of(*self.kafka)
            assert said.handed_over >= len(under_way)
            assert said.until_ms == 9
        # Their starts come late: the old worker finishes these calls while the new one is at work already.
        late = self.starting
        self.take_over()
        for offset in sorted(late):
            at = self.write("started", offset)
            if arrives:
                self.called.add(offset)
            else:
                self.beside.add(at)

    # Laws

    @property
    def said_done(self):
        return {offset for start, end in decode(*self.kafka) for offset in range(start, end)}

    def is_done(self, offset):
        return not self.log[offset] or offset in self.done or offset in self.handed_over

    @invariant()
    def nothing_undone_is_committed(self):
        assert all(self.is_done(offset) for offset in range(self.kafka[0]))
        assert all(self.is_done(offset) for offset in self.said_done)

    @invariant()
    def metadata_fits(self):
        assert len(self.kafka[1]) <= MAX_CHARS

    @invariant()
    def the_journal_is_never_begun_behind_what_still_matters(self):
        start = progress_of(*self.kafka).journal
        for at, note in enumerate(self.journal[: start or 0]):
            if at in self.beside or note.lane is not Lane.BATCH:
                continue
            if note.offset >= self.kafka[0] and note.offset not in self.said_done:
                later = [one.phase for one in self.journal[start:] if one.task_id == note.task_id]
                assert later, f"the entry at {at} matters, and would not be read"
                assert note.phase == "started" or "ended" in later

    @invariant()
    def the_count_is_right(self):
        under_way = len(self.buffered) + len(self.starting) + len(self.running)
        assert self.tracker.incomplete == under_way + len(self.dropped)
        assert self.tracker.running_in(0) == under_way

    def teardown(self):
        if self.dropped:
            self.give_back(arrives=True)
        self.read(len(self.log) + 1)
        for offset in sorted(self.buffered | self.starting | self.running, reverse=True):
            self.answer(offset)
        self.buffered, self.starting, self.running = set(), set(), set()
        self.commit(arrives=True)
        assert self.kafka[0] == len(self.log), "lag does not reach 0"
        assert progress_of(*self.kafka).in_flight == 0
        assert decode(*self.kafka) == []


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


def test_metadata_of_the_version_before_is_still_read() -> None:
    runs = encode(7, [(9, 12)])
    assert progress_of(7, f"2:12:3;{runs}") == Progress(19, 3)
    assert decode(7, f"2:12:3;{runs}") == decode(7, runs) == [(9, 12)]


@given(st.text(max_size=60) | st.from_regex(r"\A[23](:[0-9]{0,20}){2,6};?\Z"))
def test_metadata_that_nobody_wrote_says_nothing(text: str) -> None:
    found = progress_of(7, text)
    assert found.read_to >= 7
    if not text.startswith(("2:", "3:")):
        assert found == Progress(7, 0)


def test_a_prefix_in_the_middle_is_no_prefix() -> None:
    assert decode(0, "1b:Bg2:1:1;==") == []
    assert progress_of(0, "1b:Bg2:1:1;==") == Progress(0, 0)


def test_the_longest_commit_fits() -> None:
    spans = [(base, base + 1) for base in range(1, 1 << 20, 129)]
    longest = Progress(1 << 40, 10**12 - 1, 10**18 - 1, 10**12 - 1, 10**14 - 1)
    text = encode_commit(0, spans, longest)
    assert len(text) <= MAX_CHARS
    assert progress_of(0, text) == longest


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

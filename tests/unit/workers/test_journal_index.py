"""What a tail of the journal says about tasks that are not done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas.codec import decode, encode
from headrace.schemas.completed import progress_of
from headrace.schemas.messages import Attempt, Lane, Result
from headrace.workers.core.journal import JournalIndex
from headrace.workers.core.offsets import OffsetTracker
from headrace.workers.shell.delivery import Assignment, Delivery, Inbox
from headrace.workers.shell.journal import Journal

from .conftest import make_task


def note(offset, phase="started", *, attempt=1, lane=Lane.BATCH, output=None, worker="w"):
    result = Result(task_id=f"j/s/{offset}", job_id="j", attempt=attempt, output=output) if phase == "ended" else None
    fields = {"phase": phase, "at_ms": 1, "worker": worker, "lane": lane, "offset": offset, "result": result}
    return Attempt(task_id=f"j/s/{offset}", attempt=attempt, **fields)


def index(*notes, base=0, done=(), **options):
    made = JournalIndex(Lane.BATCH, base=base, done=done, **options)
    for at, one in enumerate(notes):
        made.add(one, at=at, size_bytes=100)
    return made


def test_what_is_done_and_what_another_lane_did_is_passed_over():
    notes = [note(offset) for offset in range(10)]
    made = index(*notes, note(7, lane=Lane.INTERACTIVE, attempt=3), base=3, done=[(5, 7), (8, 9)])
    assert [offset for offset in range(12) if made.find(offset)] == [3, 4, 7, 9]
    assert made.find(7).attempt == 1
    assert made.least() == 3


def test_an_answer_beats_a_start_wherever_it_stands_and_the_first_answer_stands():
    made = index(note(1), note(1, "ended", output="first"), note(1), note(1, "ended", output="second"))
    assert made.find(1).result.output == "first"
    assert made.find(1).at == 1, "the start before the answer need not be read again"
    assert made.counts() == (1, 0)


def test_of_two_starts_without_an_end_the_first_is_to_be_read_again():
    made = index(note(9), note(1, worker="a"), note(1, worker="b"))
    assert (made.find(1).at, made.find(1).result, made.least()) == (1, None, 0)


def given_up(offset, *, worker="w"):
    return note(offset, "ended", worker=worker).model_copy(update={"result": None})


def test_a_start_that_its_worker_gave_up_counts_as_none_and_another_workers_start_stays():
    assert index(note(1), given_up(1)).find(1) is None
    made = index(note(1, worker="a"), note(1, worker="b"), given_up(1, worker="a"))
    assert (made.find(1).at, made.find(1).result) == (1, None)
    made.add(given_up(1, worker="b"), at=3, size_bytes=1)
    assert len(made) == 0
    answered = index(note(1, worker="b"), note(1, "ended", worker="b"), given_up(1, worker="a"))
    assert answered.find(1).result is not None


def test_an_entry_of_another_attempt_or_task_is_not_believed():
    made = index(note(1, "ended"))
    assert made.find(1).concerns(make_task(task_id="j/s/1"))
    assert not made.find(1).concerns(make_task(task_id="j/s/1", attempt=2))
    assert not made.find(1).concerns(make_task(task_id="j/s/2"))


def test_a_topic_that_was_made_anew_has_new_tasks_at_old_offsets():
    made = index(note(1, "ended", output="of the old topic"), note(1, attempt=2))
    assert (made.find(1).attempt, made.find(1).result) == (2, None)


def test_answers_beyond_the_bound_are_forgotten_the_oldest_first_and_their_tasks_stay_known():
    made = index(*(note(offset, "ended") for offset in range(10)), max_answer_bytes=350)
    assert [made.find(offset).result is not None for offset in range(10)] == [False] * 7 + [True] * 3
    assert made.least() == 0, "their answers can still be read by the next owner"
    made.drop(9)
    made.add(note(11, "ended"), at=10, size_bytes=100)
    assert made.counts() == (3, 7)


def test_a_record_without_its_place_says_nothing():
    assert len(index(note(1).model_copy(update={"offset": None}), note(2).model_copy(update={"lane": None}))) == 0


def test_a_commit_names_a_later_journal_offset_as_soon_as_the_least_one_does_not_matter_any_more():
    tracker = OffsetTracker()
    noted = index(note(1), note(0), note(2))
    epoch = tracker.assign(0, committed=0, metadata="", journal_next=50, noted=noted)
    for offset in range(4):
        tracker.deliver(0, offset)

    def named():
        (commit,) = tracker.committable()
        return progress_of(commit.offset, commit.metadata).journal

    assert named() == 0
    tracker.complete(0, epoch, 1, 60)
    assert named() == 1, "though an offset below it is not done"
    tracker.complete(0, epoch, 0, 61)
    assert named() == 2
    tracker.begin(0, epoch, 3, 62)
    tracker.complete(0, epoch, 2, 63)
    assert named() == 62
    tracker.complete(0, epoch, 3, 64)
    assert named() == 65


def test_what_a_commit_could_not_say_is_not_handed_over():
    tracker = OffsetTracker()
    epoch = tracker.assign(0, committed=0, metadata="", journal_next=0)
    for offset in range(200_000):
        tracker.deliver(0, offset)
    for offset in range(200_000):
        if offset % 130 == 129:
            tracker.begin(0, epoch, offset, offset)
        elif offset % 130 == 128:
            tracker.drop(0, epoch, offset)
        elif offset % 130:
            tracker.complete(0, epoch, offset, None)
    running = tracker.running_in(0)
    handed_over = tracker.hand_over(0, until_ms=5, now_ms=1)
    assert 0 < handed_over < running
    assert tracker.running_in(0) == running - handed_over
    (commit,) = tracker.committable()
    again = OffsetTracker()
    again.assign(0, committed=commit.offset, metadata=commit.metadata)
    later = range(commit.offset, 200_000)
    redelivered = sum(again.deliver(0, offset) for offset in later if offset % 130 in (0, 129))
    assert redelivered == running - handed_over


TEXTS = st.text(max_size=30)


@given(task_id=TEXTS, job_id=TEXTS, tenant=TEXTS, workflow=TEXTS, output=st.none() | TEXTS | st.lists(st.integers()))
def test_the_end_that_is_built_around_the_encoded_result_reads_as_the_message(
    task_id, job_id, tenant, workflow, output
):
    task = make_task(task_id=task_id, job_id=job_id, tenant=tenant, workflow=workflow, template_hash="h")
    result = Result(task_id=task_id, job_id=job_id, attempt=1, output=output)
    delivery = Delivery(Lane.BATCH, None, 17, Assignment(3, 1, None), Inbox())
    record = Journal("t", worker='w"\n').ended(task, delivery, encode(result))
    read = decode(Attempt, record.value, {name: value.decode() for name, value in record.headers})
    assert read == Attempt(
        task_id=task_id,
        attempt=1,
        phase="ended",
        at_ms=read.at_ms,
        worker='w"\n',
        lane=Lane.BATCH,
        offset=17,
        job_id=job_id,
        tenant=tenant,
        workflow=workflow,
        template_hash="h",
        result=result,
    )
    assert (record.partition, record.key) == (3, task_id.encode())

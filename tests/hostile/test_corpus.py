"""The hostile corpus without Kafka, through the parts that meet it: each input ends as it must, soon, and small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.orchestrator.shell.damage import REWRITTEN
from headrace.runtime.kafka import headers_of
from headrace.runtime.letters import MAX_LETTER_BYTES, letter_record, source_of
from headrace.schemas.codec import encode, header_map
from headrace.schemas.errors import ContractError, ErrorKind
from headrace.schemas.messages import ChatMessage, DeadLetter, JobStatus, Lane, LlmCall, Result, Task
from headrace.workers.core.journal import Entry, read_note
from headrace.workers.core.orders import read_order
from tests.hostile.bad import Bad, Ends
from tests.hostile.bounds import bounded
from tests.hostile.corpus import CORPUS, of
from tests.hostile.corpus_results import VICTIM
from tests.hostile.messages import CorpusMessage
from tests.hostile.orchestrator import after, check_goes_on, made
from tests.hostile.worker import OFFSET, TASKS, work_off
from tests.instance import TOPICS, Instance

TASK_FIELDS: dict[str, Any] = {
    "task_id": "h-task/say/0", "job_id": "h-task", "step": "say", "attempt": 1, "pool": "noop",
    "reply_partition": 0, "timeout_ms": 5_000,
}  # fmt: skip


def inputs(topic: str) -> Any:
    return pytest.mark.parametrize("bad", of(topic), ids=lambda bad: bad.name)


def kind_of(run: Callable[[], object]) -> str:
    """Return the kind of the error of ours that a reader raises; anything else goes through."""
    with pytest.raises(ContractError) as caught:
        run()
    return caught.value.kind


def check_letter(letter: DeadLetter, bad: Bad) -> None:
    assert bad.reason in ("", letter.reason)
    record = letter_record(letter, "dead")
    size = len(record.key or b"") + len(record.value or b"") + sum(len(n) + len(v) for n, v in record.headers)
    assert size <= MAX_LETTER_BYTES
    assert (letter.key_bytes, letter.value_bytes) == (len(bad.key or b""), len(bad.value or b""))


def test_the_corpus_is_large_and_its_inputs_have_names_of_their_own() -> None:
    assert len(CORPUS) >= 150
    assert len({(bad.topic, bad.name) for bad in CORPUS}) == len(CORPUS)
    named = [bad.job_id for bad in of("jobs") if bad.job_id]
    assert len(set(named)) == len(named), "each job of its own, so that one hides no other"


@inputs("jobs")
def test_a_submission_is_rejected_set_aside_or_taken_and_the_next_one_runs(bad: Bad) -> None:
    instance = after(bad, TOPICS.jobs)
    rejected = [one for one in instance.outcomes if one.status is JobStatus.REJECTED]
    match bad.ends:
        case Ends.REJECTED:
            assert (len(rejected), instance.letters) == (1, [])
            assert bad.reason in ("", rejected[0].reason)
        case Ends.LETTER:
            (letter,) = instance.letters
            check_letter(letter, bad)
            assert instance.outcomes == []
        case Ends.TAKEN:
            assert (rejected, instance.letters, len(instance.tasks)) == ([], [], 1)
        case Ends.IGNORED:
            assert (rejected, instance.letters, len(instance.outcomes)) == ([], [], 1), "it ends by itself"
    check_goes_on(instance)


@inputs("results")
def test_a_forged_result_is_set_aside_and_its_task_is_answered_by_the_true_one(bad: Bad) -> None:
    instance = after(bad, TOPICS.results, victim=True)
    (letter,) = instance.letters
    check_letter(letter, bad)
    assert instance.outcomes == []
    good = Result(task_id=f"{VICTIM}/say/0", job_id=VICTIM, attempt=1, output="true")
    instance.read(TOPICS.results, VICTIM.encode(), encode(good))
    assert [(one.status, one.output) for one in instance.outcomes] == [(JobStatus.SUCCEEDED, "true")]


@inputs("tasks")
def test_a_task_that_cannot_be_read_is_set_aside_and_its_offset_is_done(bad: Bad) -> None:
    answered = bounded(bad, lambda: work_off(bad))
    assert answered.done == [OFFSET]
    (letter,) = answered.letters
    check_letter(letter, bad)
    assert (letter.origin.topic, letter.origin.offset, letter.pool) == (TASKS, OFFSET, "noop")


@inputs("control")
def test_an_order_that_cannot_be_read_is_refused_by_name(bad: Bad) -> None:
    message = CorpusMessage(bad, topic="t.control")
    headers = headers_of(message)
    kind = bounded(bad, lambda: kind_of(lambda: read_order(bad.key, bad.value, header_map(headers))))
    assert kind == bad.reason
    assert source_of(message, headers).key == bad.key


@inputs("attempts")
def test_a_journal_record_that_cannot_be_read_is_an_error_of_ours(bad: Bad) -> None:
    headers = header_map(headers_of(CorpusMessage(bad, topic="t.attempts.noop")))
    assert bounded(bad, lambda: kind_of(lambda: read_note(bad.value, headers))) == bad.reason


def test_an_answer_in_the_journal_that_no_worker_can_have_written_ends_no_worker() -> None:
    task = Task(**TASK_FIELDS, lane=Lane.BATCH, call=LlmCall(messages=(ChatMessage(role="user", content="x"),)))
    bad = Bad("a good task", "tasks", Ends.TAKEN, None, encode(task))
    answers = {}
    for size in (100_000, 1_500_000):  # A batch is compressed, so that a record may be larger than its topic takes.
        result = Result(task_id=task.task_id, job_id=task.job_id, attempt=1, output="x" * size)
        answered = work_off(bad, Entry(task.task_id, 1, 0, result))
        assert answered.done == [OFFSET]
        (answers[size],) = answered.results
    assert answers[100_000].journalled
    assert answers[1_500_000].failure is not None
    assert answers[1_500_000].failure.kind is ErrorKind.INTERRUPTED


@inputs("state")
def test_a_broken_record_of_state_ends_its_job_once_and_is_gone_at_the_next_restart(bad: Bad) -> None:
    key = (bad.key or b"").decode("utf-8", "surrogateescape")

    def run() -> Instance:
        instance = made(log={key: (7, bad.value)})
        instance.mend()
        return instance

    instance = bounded(bad, run)
    expected = 1 if bad.ends is Ends.LETTER else 0
    assert len(instance.letters) == expected
    for letter in instance.letters:
        check_letter(letter, bad)
        assert (letter.origin.topic, letter.origin.offset) == (TOPICS.state, 7)
    assert [one.job_id for one in instance.outcomes] == ([bad.job_id] if bad.job_id else [])
    assert {one.status for one in instance.outcomes} <= {JobStatus.FAILED}
    if key not in REWRITTEN:
        instance.restart()
        assert instance.partition.damage is None
    check_goes_on(instance)

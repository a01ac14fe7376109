"""Fuzzers: good messages, spoiled by hypothesis, against every seam that reads what others wrote.

Each takes it or refuses it with an error of ours; it never breaks, and what comes next is done. `make fuzz` tries many.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.console.job_reader import apply_record, read_message
from headrace.console.job_report import report_job
from headrace.orchestrator.core.catalogue import check_text
from headrace.orchestrator.core.state import StateRecord
from headrace.orchestrator.shell.damage import REWRITTEN
from headrace.runtime.kafka import headers_of
from headrace.runtime.letters import Source, Whose, dead_letter, letter_record, whose_is
from headrace.runtime.telemetry import trace_headers, trace_id
from headrace.schemas import completed
from headrace.schemas.codec import SCHEMAS, decode, encode, header_map
from headrace.schemas.errors import ContractError, ErrorKind
from headrace.schemas.messages import Event, Lane, Outcome, Result
from headrace.workers.core.journal import JournalIndex, read_note
from headrace.workers.core.orders import read_order
from tests.hostile import good
from tests.hostile.bad import Bad, Ends
from tests.hostile.bounds import within_time
from tests.hostile.console import look_at
from tests.hostile.corpus_results import TASK, VICTIM
from tests.hostile.messages import CorpusMessage
from tests.hostile.mutations import EXAMPLES, FUZZ, HEADERS, hostile, torn
from tests.hostile.orchestrator import GOOD, check_goes_on, made
from tests.hostile.test_workflow_files import POOLS as FILE_POOLS
from tests.hostile.worker import OFFSET, work_off
from tests.instance import TOPICS, Instance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)] if EXAMPLES else []
KEYS = st.sampled_from([None, b"", b"h-1", VICTIM.encode(), b"\xff", b"a/b", b"h-task/say/0", b"k" * 300]) | st.binary(
    max_size=6
)
YAML = yaml.safe_dump(good.INLINE).encode()
MESSAGES = {
    "job": good.SUBMISSIONS, "task": good.TASKS, "result": good.RESULTS, "outcome": good.OUTCOMES, "event": good.EVENTS,
    "attempt": good.NOTES, "control": good.CONTROL, "dead-letter": good.LETTERS, "resolution": good.RESOLUTIONS,
    "redrive": (b'{"pool":"noop","messages":[{"role":"user","content":"x"}]}',),
}  # fmt: skip


def bad_of(topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> Bad:
    return Bad("a spoiled message", topic, Ends.TAKEN, key, value, headers)


def check_nothing_broke(instance: Instance) -> None:
    assert [letter for letter in instance.letters if letter.reason == "internal"] == []
    assert [outcome for outcome in instance.outcomes if outcome.reason is ErrorKind.INTERNAL] == []


@pytest.mark.parametrize("name", list(SCHEMAS))
@FUZZ
@given(data=st.data())
def test_a_message_is_read_or_refused_and_what_was_read_can_be_written(name: str, data: st.DataObject) -> None:
    model = SCHEMAS[name]
    value = data.draw(hostile(*MESSAGES[name]))
    try:
        found = within_time(name, lambda: decode(model, value))
    except ContractError as error:
        error.message.encode()
        return
    json.loads(encode(found))


@FUZZ
@given(KEYS, hostile(*good.SUBMISSIONS), HEADERS)
def test_a_spoiled_submission_breaks_nothing(key: bytes | None, value: bytes, headers: Any) -> None:
    instance = made()
    instance.read(TOPICS.jobs, VICTIM.encode(), GOOD)
    read = headers_of(CorpusMessage(bad_of("jobs", key, value, headers), topic=TOPICS.jobs))
    within_time("a submission", lambda: instance.read(TOPICS.jobs, key, value, read))
    check_nothing_broke(instance)
    check_goes_on(instance)


@FUZZ
@given(torn(good.PART) | hostile(good.INPUT), st.booleans())
def test_a_spoiled_object_breaks_nothing_but_its_job(content: bytes, as_items: bool) -> None:
    instance = made(content)
    submission = (good.by_items if as_items else good.by_input)(content)
    within_time("an object", lambda: instance.read(TOPICS.jobs, None, submission))
    for task in instance.tasks:
        true = Result(task_id=task.task_id, job_id=task.job_id, attempt=1, output="true")
        instance.read(TOPICS.results, task.job_id.encode(), encode(true))
    assert instance.letters == []
    assert len(instance.outcomes) == 1
    check_goes_on(instance)


@FUZZ
@given(KEYS, hostile(*good.RESULTS), HEADERS)
def test_a_spoiled_result_breaks_nothing_and_its_job_ends_once(key: bytes | None, value: bytes, headers: Any) -> None:
    instance = made()
    instance.read(TOPICS.jobs, VICTIM.encode(), GOOD)
    read = headers_of(CorpusMessage(bad_of("results", key, value, headers), topic=TOPICS.results))
    within_time("a result", lambda: instance.read(TOPICS.results, key, value, read))
    check_nothing_broke(instance)
    for attempt in (1, 2):  # The second, where the spoiled one was a failure that may be tried again.
        instance.fire()
        true = Result(task_id=TASK, job_id=VICTIM, attempt=attempt, output="true")
        instance.read(TOPICS.results, VICTIM.encode(), encode(true))
    assert len(instance.outcomes) <= 1
    check_nothing_broke(instance)
    check_goes_on(instance)


@FUZZ
@given(hostile(*good.TASKS), HEADERS)
def test_a_spoiled_task_is_done_with_an_answer_or_a_letter(value: bytes, headers: Any) -> None:
    answered = within_time("a task", lambda: work_off(bad_of("tasks", b"k", value, headers)))
    assert answered.done == [OFFSET]
    assert answered.letters or answered.results
    assert all(letter.reason != "internal" for letter in answered.letters)
    assert not [one for one in answered.results if one.failure and one.failure.message.startswith("unexpected")]


@FUZZ
@given(KEYS | st.just(b"job/h-c"), hostile(*good.CONTROL), HEADERS)
def test_a_spoiled_order_is_read_or_refused(key: bytes | None, value: bytes, headers: Any) -> None:
    read = header_map(headers_of(CorpusMessage(bad_of("control", key, value, headers), topic="t.control")))
    try:
        read_order(key, value, read)
    except ContractError as error:
        error.message.encode()


@FUZZ
@given(hostile(*good.NOTES), hostile(*good.NOTES), HEADERS)
def test_a_spoiled_journal_answers_a_task_at_most_once(first: bytes, second: bytes, headers: Any) -> None:
    index = JournalIndex(Lane.BATCH, base=0)
    read = header_map(headers_of(CorpusMessage(bad_of("attempts", None, first, headers), topic="t.attempts.noop")))
    for at, (value, said) in enumerate([(first, read), (second, {}), (first, {})]):
        try:
            index.add(read_note(value, said), at=at, size_bytes=len(value))
        except ContractError:
            continue
    index.least(), index.counts()
    answered = work_off(bad_of("tasks", None, good.TASKS[0]), index.find(OFFSET))
    assert answered.done == [OFFSET]
    assert len(answered.results) == 1
    assert answered.results[0].task_id == "h-task/say/0"


@FUZZ
@given(st.data())
def test_a_spoiled_record_of_state_ends_at_most_the_jobs_that_need_it(data: st.DataObject) -> None:
    log = good.state()
    key = data.draw(st.sampled_from(sorted(log)))
    spoiled: dict[str, tuple[int, bytes | None]] = {name: (at, value) for at, (name, value) in enumerate(log.items())}
    value = data.draw(hostile(log[key]))
    spoiled[data.draw(st.just(key) | st.text(max_size=12) | torn(key.encode()).map(_text))] = (99, value)

    def run() -> Instance:
        instance = made(log=spoiled)
        instance.mend()
        instance.fire()
        instance.deal()
        return instance

    instance = within_time("a state", run)
    assert all(letter.reason == "broken_state" for letter in instance.letters)
    check_goes_on(instance)
    instance.restart()
    assert instance.partition.damage is None or set(instance.log) & set(REWRITTEN)
    check_goes_on(instance, "another")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


@FUZZ
@given(hostile(*good.LETTERS, *good.RESOLUTIONS), HEADERS)
def test_a_spoiled_letter_is_passed_over_or_shown_without_harm(value: bytes, headers: Any) -> None:
    within_time("a letter", lambda: look_at(bad_of("dead-letters", b"k", value, headers)))


@FUZZ
@given(hostile(*good.OUTCOMES, *good.EVENTS), HEADERS)
def test_a_spoiled_outcome_or_event_is_read_or_passed_over(value: bytes, headers: Any) -> None:
    for model in (Outcome, Event):
        read_message(model, CorpusMessage(bad_of("outcomes", b"k", value, headers), topic="t.outcomes"))


@FUZZ
@given(st.data())
def test_a_spoiled_record_of_state_is_reported_or_passed_over(data: st.DataObject) -> None:
    log = good.state()
    key = data.draw(st.sampled_from([key for key in sorted(log) if key.startswith(("job/", "marker/"))]))
    records: dict[str, StateRecord] = {}
    apply_record(records, key, data.draw(hostile(log[key])))
    report = report_job(key.partition("/")[2], records)
    if report is not None:
        json.dumps(report.plain())


@FUZZ
@given(torn(YAML) | hostile(json.dumps(good.INLINE).encode()))
def test_a_spoiled_workflow_is_one_or_has_problems_with_lines(value: bytes) -> None:
    text = value.decode("utf-8", "surrogateescape")
    graph, problems = within_time("a workflow", lambda: check_text("w.yaml", text, pools=FILE_POOLS))
    assert (graph is None) == bool(problems)
    assert all(found.problem.line for found in problems)
    str(problems).encode("utf-8", "backslashreplace")


METADATA = [
    completed.encode_commit(100, [(103, 105), (110, 111)], completed.Progress(120, 3, 40, 2, 9)),
    completed.encode_commit(100, [(101, 900)], completed.Progress(900, 3)),
    completed.encode(100, [(101 + 2 * n, 102 + 2 * n) for n in range(500)]),
    "2:10:3;",
]


@FUZZ
@given(
    st.sampled_from(METADATA).flatmap(lambda text: torn(text.encode())) | st.binary(max_size=40),
    st.integers(0, 1 << 60),
)
def test_spoiled_metadata_of_a_commit_says_something_or_nothing(raw: bytes, base: int) -> None:
    text = raw.decode("utf-8", "replace")
    spans = within_time("metadata", lambda: completed.decode(base, text))
    assert all(base <= start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert completed.progress_of(base, text).read_to >= base


@FUZZ
@given(KEYS, hostile(*good.TASKS, *good.SUBMISSIONS) | st.none(), HEADERS, st.integers(200, 5_000))
def test_a_letter_about_anything_can_be_written(
    key: bytes | None, value: bytes | None, headers: Any, room: int
) -> None:
    read = headers_of(CorpusMessage(bad_of("jobs", key, value, headers), topic="t.jobs"))
    source = Source("t.jobs", 0, 7, key, value, read)
    whose_is(source, Whose())
    letter = dead_letter(source, reason="r", message="m", at_ms=1, by="w", max_bytes=room + 5_000)
    record = letter_record(letter, "t.dead-letters")
    assert decode(type(letter), record.value, header_map(record.headers)) == letter
    trace_id(trace_headers(header_map(read)))

"""What is sent back for a dead letter, and what is not."""

from __future__ import annotations

import json

import pytest

from headrace.console.letter_edit import Edit, parse_sets
from headrace.console.redrive import Invalid, Redriver, Refused
from headrace.runtime.letters import Source, dead_letter, task_headers, task_letter
from headrace.schemas.codec import Record, decode, encode, header_map, schema_headers
from headrace.schemas.errors import ConfigError, ErrorKind
from headrace.schemas.ids import home_partition
from headrace.schemas.messages import (
    AttemptNote,
    ChatMessage,
    Control,
    Lane,
    LlmCall,
    Redrive,
    Result,
    Sensitivity,
    Submission,
    Task,
    ToolOffer,
)
from headrace.schemas.pools import Endpoint, Pool, PoolsFile
from headrace.schemas.topics import Topics

TOPICS = Topics("acme")
POOLS = PoolsFile(
    endpoints={"here": Endpoint(public=False), "out": Endpoint(public=True)},
    pools={"small": Pool(endpoint="here"), "large": Pool(endpoint="here"), "hosted": Pool(endpoint="out")},
)
TASK = Task(
    task_id="j1/notes/3", job_id="j1", step="notes", attempt=2, pool="small", lane=Lane.BATCH, reply_partition=2,
    timeout_ms=1_000, call=LlmCall(messages=(ChatMessage(role="user", content="hi"),)),
)  # fmt: skip
HOMES = 12


def redriver(**fields) -> Redriver:
    return Redriver(TOPICS, HOMES, POOLS, **fields)


def letter(topic, value, *, key=None, headers=(), partition=4, **fields):
    wanted = {"reason": "invalid_json", "message": "m", "at_ms": 1, "by": "me", **fields}
    return dead_letter(Source(topic, partition, 7, key, value, tuple(headers)), **wanted)


def of_task(task: Task = TASK, value: bytes | None = None, **fields):
    topic = TOPICS.tasks(task.pool, task.lane)
    content = encode(task) if value is None else value
    return letter(topic, content, key=task.task_id.encode(), headers=task_headers(task), **fields)


def exhausted(task: Task = TASK, *, redrives: int = 0):
    written = Record(TOPICS.tasks(task.pool, task.lane), b"k", encode(task), headers=task_headers(task))
    notes = [AttemptNote(attempt=2, kind=ErrorKind.TIMEOUT)]
    return task_letter(
        task, written=written, found=None, reason="exhausted", message="m", attempts=notes, at_ms=1, by="o",
        redrives=redrives,
    )  # fmt: skip


def test_a_submission_goes_to_its_home_whatever_partition_it_lay_on():
    value = b'{"job_id": "j1", "workflow": "w", "inputt": {}}'
    sending = redriver().record(letter(TOPICS.jobs, value, headers=[("x-forwarded-from", b"3:9"), ("a", b"b")]))
    record = sending.record
    assert (record.topic, record.partition, record.value) == (TOPICS.jobs, home_partition("j1", HOMES), value)
    assert record.headers == [("a", b"b"), ("x-redrives", b"1")]
    assert (sending.job_id, sending.needs_job) == ("j1", False)


def test_a_submission_named_by_its_key_goes_home_too_and_one_without_an_id_where_it_lay():
    assert redriver().record(letter(TOPICS.jobs, b"{", key=b"j1")).record.partition == home_partition("j1", HOMES)
    assert redriver().record(letter(TOPICS.jobs, b"{")).record.partition == 4
    assert redriver().record(letter(TOPICS.jobs, None, key=b"\xff")).record.value is None


def test_a_result_goes_where_it_lay():
    record = redriver().record(letter(TOPICS.results, b"{", key=b"j1")).record
    assert (record.topic, record.partition, record.key) == (TOPICS.results, 4, b"j1")
    with pytest.raises(Refused):
        redriver().record(letter(TOPICS.results, b"{", partition=HOMES))


def test_a_task_goes_by_its_key_with_its_own_headers():
    record = redriver().record(of_task()).record
    assert (record.topic, record.partition, record.key) == (TOPICS.tasks("small", Lane.BATCH), None, b"j1/notes/3")
    assert record.headers == [*task_headers(TASK), ("x-redrives", b"1")]


def test_an_order_goes_back_to_control():
    value = encode(Control(subject="job/j1", action="cancel", at_ms=1))
    sending = redriver().record(letter(TOPICS.control, value, key=b"job/j1", partition=0))
    assert (sending.record.topic, sending.record.partition, sending.job_id) == (TOPICS.control, 0, None)


@pytest.mark.parametrize("topic", [TOPICS.state, TOPICS.outcomes, TOPICS.attempts("small"), "other.jobs", ""])
def test_records_of_other_topics_cannot_be_sent_back(topic):
    with pytest.raises(Refused, match="cannot be sent back"):
        redriver().record(letter(topic, b"{}"))


def test_what_was_sent_back_too_often_stays_unless_it_is_forced():
    again = letter(TOPICS.jobs, b"{}", headers=[("x-redrives", b"3")])
    with pytest.raises(Refused, match="3 times"):
        redriver(max_redrives=3).record(again)
    record = redriver(max_redrives=3, force=True).record(again).record
    assert header_map(record.headers)["x-redrives"] == "4"
    assert [name for name, _ in record.headers].count("x-redrives") == 1
    with pytest.raises(Refused, match="3 times"):
        redriver(max_redrives=3).record(exhausted(redrives=3))


@pytest.mark.parametrize(
    "cut",
    [
        letter(TOPICS.jobs, b"v" * 900_000),
        letter(TOPICS.jobs, b"{}", key=b"k" * 9_000),
        letter(TOPICS.jobs, b"{}", headers=[("h", b"x" * 20_000)]),
    ],
)
def test_what_was_cut_is_another_record_and_is_refused(cut):
    with pytest.raises(Refused, match="kept"):
        redriver(force=True).record(cut)


def test_a_cut_value_may_be_given_anew():
    whole = encode(Submission(job_id="j1", workflow="w"))
    record = redriver(edit=Edit(value=whole)).record(letter(TOPICS.jobs, b"v" * 900_000)).record
    assert record.value == whole


# ── Edits ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_field_travels_under_our_own_schema_version():
    headers = [("x-schema", b"job"), ("x-schema-version", b"9")]
    newer = letter(TOPICS.jobs, b'{"job_id":"j1","workflow":"w","new":1}', headers=headers)
    edit = Edit(value=b'{"job_id":"j1","workflow":"w"}', sets=parse_sets(['input.text="a"', "input.n=[1,2]"]))
    record = redriver(edit=edit).record(newer).record
    assert decode(Submission, record.value).input == {"text": "a", "n": [1, 2]}
    assert record.headers == [*schema_headers(Submission), ("x-redrives", b"1")]


def test_a_submission_under_another_id_goes_by_that_id():
    found = letter(TOPICS.jobs, b'{"job_id":"j1","workflow":"w"}', key=b"j1", reason="job_conflict")
    sending = redriver(edit=Edit(sets=(("job_id", "j1-again"),))).record(found)
    assert (sending.record.key, sending.job_id) == (b"j1-again", "j1-again")
    assert sending.record.partition == home_partition("j1-again", HOMES)


@pytest.mark.parametrize(
    ("found", "edit", "says"),
    [
        (letter(TOPICS.jobs, b'{"workflow":"w"}'), {"workflw": 1, "priority": 1000}, "did you mean 'workflow'"),
        (letter(TOPICS.jobs, b'{"workflow":"w"}'), {"workflw": 1, "priority": 1000}, "priority"),
        (letter(TOPICS.jobs, b'{"workflow":"w"}'), {"job_id": "not legal"}, "not legal"),
        (letter(TOPICS.jobs, b"{}"), {"tenant": "t"}, "workflow"),
        (letter(TOPICS.jobs, b"{}"), {"type": "cancel"}, "needs a job_id"),
        (of_task(), {"attempt": 0}, "attempt"),
        (of_task(), {"task_id": "j1/notes/4"}, "x-task-id"),
        (of_task(), {"reply_partition": HOMES}, "x-reply-partition"),
        (of_task(), {"pool": "large"}, "lies on a topic of pool"),
        (letter(TOPICS.results, b"{}", key=b"j1"), {"task_id": "j1/a/0"}, "job_id: Field required"),
        (letter(TOPICS.control, b"{}", key=b"job/a"), {"subject": "job/b", "action": "cancel", "at_ms": 1}, "subject"),
        (exhausted(), {"pool": "large", "prompt": "x"}, "unknown field 'prompt'"),
        (exhausted(), {"messages": []}, "messages"),
    ],
)
def test_a_change_that_breaks_the_contract_says_everything_and_sends_nothing(found, edit, says):
    with pytest.raises(Invalid) as caught:
        redriver(edit=Edit(sets=tuple(edit.items()))).record(found)
    assert says in caught.value.message


def test_an_editor_gets_what_is_there_laid_out_and_what_it_leaves_is_sent():
    seen = []

    def editor(text):
        seen.append(text)
        return text.replace('"w"', '"w2"')

    record = redriver(edit=Edit(editor=editor)).record(letter(TOPICS.jobs, b'{"job_id":"j1","workflow":"w"}')).record
    assert json.loads(seen[0]) == {"job_id": "j1", "workflow": "w"}
    assert "\n  " in seen[0]
    assert decode(Submission, record.value).workflow == "w2"


@pytest.mark.parametrize("pair", ["a", "=1", "a=b", "a=", "a=NaN", "a=" + "[" * 100_000])
def test_a_pair_that_is_no_json_is_a_usage_error(pair):
    with pytest.raises(ConfigError):
        parse_sets([pair])


@pytest.mark.parametrize(
    ("content", "path", "says"),
    [
        (b"{", "a", "this value is none"),
        (b"[1]", "1", "no entry"),
        (b"[1]", "²", "no entry"),
        (b'{"a":1}', "a.b", "no field"),
    ],
)
def test_a_field_that_cannot_be_set_is_a_usage_error(content, path, says):
    with pytest.raises(ConfigError, match=says):
        Edit(sets=((path, 1),)).apply(content)


# ── Other pools ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_goes_to_another_pool_in_the_same_lane():
    record = redriver(pool="large").record(of_task()).record
    assert record.topic == TOPICS.tasks("large", Lane.BATCH)
    assert decode(Task, record.value) == TASK.model_copy(update={"pool": "large"})


@pytest.mark.parametrize(
    ("found", "pool", "says"),
    [
        (of_task(), "nowhere", "unknown pool"),
        (of_task(value=b"{broken"), "large", "cannot be read"),
        (of_task(TASK.model_copy(update={"sensitivity": Sensitivity.CONFIDENTIAL})), "hosted", "confidential"),
        (exhausted(TASK.model_copy(update={"sensitivity": Sensitivity.CONFIDENTIAL})), "hosted", "confidential"),
        (exhausted(), "nowhere", "unknown pool"),
        (letter(TOPICS.jobs, b"{}"), "large", "does not apply"),
        (letter(TOPICS.results, b"{}"), "large", "does not apply"),
    ],
)
def test_a_pool_that_may_not_have_it_is_refused(found, pool, says):
    with pytest.raises(Refused, match=says):
        redriver(pool=pool).record(found)


def test_an_edit_makes_nothing_public_that_was_confidential():
    secret = of_task(TASK.model_copy(update={"sensitivity": Sensitivity.CONFIDENTIAL}))
    with pytest.raises(Refused, match="confidential"):
        redriver(pool="hosted", edit=Edit(sets=(("sensitivity", "public"),))).record(secret)


# ── Tasks that failed for good ───────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_failed_for_good_becomes_an_order_to_its_job():
    sending = redriver().record(exhausted())
    order = decode(Submission, sending.record.value)
    assert (order.type, order.job_id, order.name, order.payload) == ("redrive", "j1", "j1/notes/3", None)
    assert (sending.record.topic, sending.record.key) == (TOPICS.jobs, b"j1")
    assert sending.record.partition == home_partition("j1", HOMES)
    assert header_map(sending.record.headers) == {"x-schema": "job", "x-schema-version": "1", "x-redrives": "1"}
    assert sending.needs_job


def test_only_what_differs_from_the_task_is_ordered():
    edit = Edit(sets=(("messages.0.content", "hello"), ("pool", "small")))
    order = decode(Submission, redriver(edit=edit).record(exhausted()).record.value)
    assert order.payload == {"messages": [{"role": "user", "content": "hello"}]}
    assert decode(Redrive, json.dumps(order.payload).encode()).pool is None
    moved = decode(Submission, redriver(pool="large").record(exhausted(redrives=1)).record.value)
    assert moved.payload == {"pool": "large"}


def test_an_agents_turn_can_go_to_another_pool_and_has_no_prompt_to_edit():
    assert TASK.call is not None
    said = ChatMessage(role="tool", content="found", tool_call_id="call00000")
    call = TASK.call.model_copy(update={"messages": (said,), "tools": (ToolOffer(name="t", arguments={}),)})
    turn = exhausted(TASK.model_copy(update={"call": call}))
    edit = Edit(sets=(("pool", "large"),))
    moved = decode(Submission, redriver(edit=edit).record(turn).record.value)
    assert moved.payload == {"pool": "large"}


def test_a_forged_letter_with_a_broken_id_or_base64_is_refused_and_breaks_nothing():
    forged = exhausted().model_copy(update={"task_id": "no/id"})
    assert redriver().record(forged).record.topic == TOPICS.tasks("small", Lane.BATCH)
    broken = letter(TOPICS.jobs, b"{}").model_copy(update={"value_base64": "!!!"})
    with pytest.raises(Refused):
        redriver().record(broken)


def test_the_result_schema_is_checked_like_its_reader_does():
    good = Result(task_id="j1/a/0", job_id="j1", attempt=1, output="x")
    found = letter(TOPICS.results, b"{}", key=b"j1")
    assert decode(Result, redriver(edit=Edit(value=encode(good))).record(found).record.value) == good
    bad = good.model_copy(update={"task_id": "other/a/0"})
    with pytest.raises(Invalid, match="not one of job"):
        redriver(edit=Edit(value=encode(bad))).record(found)

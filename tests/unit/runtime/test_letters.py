"""A dead letter: it always fits, it says whose it is, and it says what was cut."""

from __future__ import annotations

from base64 import b64decode

import pytest

from headrace.runtime.letters import (
    MAX_LETTER_BYTES,
    Source,
    Whose,
    chain,
    dead_letter,
    letter_record,
    redrives_of,
    task_headers,
    task_letter,
)
from headrace.schemas.codec import Record, decode, encode, header_map
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import AttemptNote, ChatMessage, DeadLetter, Lane, LlmCall, Task

TASK = Task(
    task_id="j1/notes/3", job_id="j1", step="notes", attempt=4, pool="small", lane=Lane.BATCH, reply_partition=2,
    tenant="acme", workflow="w@2", timeout_ms=1_000, call=LlmCall(messages=(ChatMessage(role="user", content="hi"),)),
)  # fmt: skip
CONTROL_CHARACTERS = "\x00" * 5_000


def letter(key=None, value=None, headers=(), topic="t.jobs", **fields) -> DeadLetter:
    wanted = {"reason": "r", "message": "m", "at_ms": 1, "by": "me", **fields}
    return dead_letter(Source(topic, 1, 2, key, value, tuple(headers)), **wanted)


def size_of(one: DeadLetter) -> int:
    record = letter_record(one, "dead")
    return len(record.key or b"") + len(record.value or b"") + sum(len(n) + len(v) for n, v in record.headers)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": b"k" * 1_000_000},
        {"value": b"v" * 1_000_000},
        {"key": b"k" * 1_000_000, "value": b"v" * 30_000_000},
        {"headers": [("h", b"x" * 1_000_000)]},
        {"headers": [("n" * 1_000_000, b"x")]},
        {"headers": [(f"h{number}", b"") for number in range(200_000)], "value": b"v" * 1_000_000},
        {"headers": [("x-job-id", b"j" * 1_000_000), ("x-task-id", b"/" * 1_000_000)]},
        {"value": b'{"pool": "%s", "tenant": "%s"}' % (b"p" * 400_000, b"t" * 400_000)},
        {"message": CONTROL_CHARACTERS, "errors": [CONTROL_CHARACTERS] * 30, "value": b"v" * 1_000_000},
        {"by": "b" * 1_000_000, "reason": "r" * 1_000_000},
        {
            "attempts": [
                AttemptNote(attempt=n, kind=ErrorKind.TIMEOUT, message=CONTROL_CHARACTERS, worker=CONTROL_CHARACTERS)
                for n in range(1, 40)
            ],
            "value": b"v" * 1_000_000,
        },
    ],
    ids="+".join,
)
def test_a_letter_fits_its_topic_whatever_was_read(fields):
    one = letter(**fields)
    assert size_of(one) <= MAX_LETTER_BYTES
    assert decode(DeadLetter, encode(one)) == one


def test_a_letter_fits_a_topic_that_takes_less():
    assert size_of(letter(value=b"v" * 500_000, max_bytes=60_000)) <= 60_000


def test_a_record_of_the_usual_size_is_kept_whole_and_its_value_fills_the_room():
    one = letter(b"key", b"v" * 700_000, [("a", b"\xff"), ("b", None), ("c", "text")])
    assert b64decode(one.value_base64 or "") == b"v" * 700_000
    assert (one.key_bytes, one.value_bytes, one.headers_left_out) == (3, 700_000, 0)
    assert [(name, b64decode(value)) for name, value in one.headers] == [("a", b"\xff"), ("b", b""), ("c", b"text")]


def test_what_was_cut_says_so():
    one = letter(b"k" * 9_000, b"v" * 900_000, [("h", b"x" * 9_000)] * 5)
    assert (one.key_bytes, one.value_bytes, one.headers_left_out) == (9_000, 900_000, 4)
    assert len(b64decode(one.key_base64 or "")) < 9_000
    assert len(b64decode(one.value_base64 or "")) < 900_000


def test_a_tombstone_and_an_empty_value_are_told_apart():
    assert letter(value=None).value_base64 is None
    assert letter(value=b"").value_base64 == ""


def test_whose_a_record_is_comes_from_headers_then_value_then_key():
    assert letter(b"k1", b'{"job_id": "v1"}', [("x-job-id", b"h1")]).job_id == "h1"
    assert letter(b"k1", b'{"job_id": "v1"}').job_id == "v1"
    assert letter(b"k1", b"{not json").job_id == "k1"
    assert letter(b"k1", whose=Whose(job_id="known")).job_id == "known"
    found = letter(b"j2/s/0", encode(TASK), [("x-task-id", b"j1/notes/3")])
    assert (found.job_id, found.task_id) == ("j1", "j1/notes/3")
    assert (found.pool, found.tenant, found.workflow) == ("small", "acme", "w@2")


def test_a_task_id_as_key_names_task_and_job():
    found = letter(b"j2/s/7", b"{broken")
    assert (found.job_id, found.task_id) == ("j2", "j2/s/7")


def test_an_inline_workflow_is_named():
    assert letter(value=b'{"workflow": {"name": "sum", "version": 3, "steps": {}}}').workflow == "sum@3"
    assert letter(value=b'{"workflow": {"name": "sum", "version": [[]]}}').workflow is None


@pytest.mark.parametrize(
    "value",
    [b"[" * 100_000, b"\xff\xfe", b'{"job_id": 3, "task_id": [], "pool": {}, "tenant": null}', b'{"a": ' + b"9" * 9_000,
     b'{"job_id": "\\ud800", "tenant": "\\ud800"}', b'{"job_id": "no/slash", "task_id": "a/b"}'],
)  # fmt: skip
def test_garbage_poses_as_no_id(value):
    found = letter(b"\xff\x00", value, [("x-job-id", b"not legal"), ("x-task-id", "j/s/²".encode())])
    assert (found.job_id, found.task_id, found.pool) == (None, None, None)
    encode(found)


@pytest.mark.parametrize(("text", "count"), [
    (b"2", 2), (b"", 0), (b"-1", 0), (b"02", 0), ("²".encode(), 0), (b"9" * 5_000, 0), (b"\xff", 0),
])  # fmt: skip
def test_a_count_of_redrives_is_a_whole_number_or_none(text, count):
    assert redrives_of([("X-Redrives", text)]) == count
    assert letter(headers=[("x-redrives", text)]).redrives == count


def test_a_task_that_failed_for_good_travels_as_it_was_last_dispatched():
    notes = [AttemptNote(attempt=number, kind=ErrorKind.TIMEOUT, message="late") for number in range(1, 15)]
    written = Record("t.tasks.small.batch", b"j1/notes/3", encode(TASK), headers=task_headers(TASK))
    one = task_letter(
        TASK, written=written, found=Source("t.results", 2, 9, None, b"{}"), reason="exhausted", message="4 attempts",
        attempts=notes, at_ms=5, by="o", redrives=1,
    )  # fmt: skip
    assert decode(Task, b64decode(one.value_base64 or "")) == TASK
    assert (one.job_id, one.task_id, one.pool, one.tenant, one.workflow) == ("j1", "j1/notes/3", "small", "acme", "w@2")
    assert [note.attempt for note in one.attempts] == list(range(5, 15))
    assert (one.redrives, one.origin.offset) == (1, 9)
    alone = task_letter(
        TASK, written=written, found=None, reason="exhausted", message="lost", attempts=[], at_ms=5, by="o"
    )  # fmt: skip
    assert (alone.origin.topic, alone.origin.offset) == ("t.tasks.small.batch", -1)
    headers = header_map([(name, b64decode(value)) for name, value in one.headers])
    assert (headers["x-attempt"], headers["x-reply-partition"]) == ("4", "2")


def test_the_chain_of_causes_ends_even_where_it_is_a_circle():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert len(chain(first)) == 10

"""Effects to records: where they go, what they carry, and what is refused before a transaction begins."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.orchestrator.core.effects import DispatchTask, EmitOutcome, SetAside
from headrace.orchestrator.core.flights import Flight
from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import Cursor, InputPart, Marker, marker_key
from headrace.orchestrator.shell.encoder import MARKER_BYTES, RECORD_OVERHEAD_BYTES, Encoder, Unwritable
from headrace.runtime.letters import Source, dead_letter
from headrace.schemas.codec import encode, header_map
from headrace.schemas.messages import (
    ChatMessage,
    DeadLetter,
    EmbedCall,
    Examples,
    JobStatus,
    Lane,
    LlmCall,
    ObjectRef,
    Outcome,
    Task,
)
from headrace.schemas.topics import Topics

TOPICS = Topics("t")


class Shelf:
    def __init__(self) -> None:
        self.held: list[bytes] = []

    def put(self, content: bytes) -> ObjectRef:
        self.held.append(content)
        return ObjectRef(key="sha256/x", size_bytes=len(content), sha256="x")


def encoder(shelf: Shelf | None = None, **limits: int) -> Encoder:
    return Encoder(TOPICS, ["small"], max_bytes=limits, inline_bytes=2_000, objects=shelf)


def task(text: str = "hello", pool: str = "small") -> DispatchTask:
    made = Task(
        task_id="j/s/0", job_id="j", step="s", attempt=2, pool=pool, lane=Lane.BATCH, reply_partition=4,
        timeout_ms=1000, call=LlmCall(messages=(ChatMessage(role="user", content=text),)),
    )  # fmt: skip
    return DispatchTask(made, "j/s/0", (("traceparent", b"00-1-2-01"),))


def nothing(_: SetAside) -> DeadLetter | None:
    return None


def test_a_task_goes_by_key_and_says_in_headers_what_a_worker_needs_without_its_value() -> None:
    record = encoder().encode([task()], 4, nothing)[0]
    assert (record.topic, record.key, record.partition) == ("t.tasks.small.batch", b"j/s/0", None)
    headers = header_map(record.headers)
    assert {
        "x-job-id": "j",
        "x-task-id": "j/s/0",
        "x-attempt": "2",
        "x-reply-partition": "4",
    }.items() <= headers.items()
    assert headers["traceparent"] == "00-1-2-01"


def test_a_task_above_the_inline_limit_goes_by_claim_check() -> None:
    shelf = Shelf()
    record = encoder(shelf).encode([task("x" * 5_000)], 4, nothing)[0]
    sent = Task.model_validate_json(record.value or b"")
    assert sent.call is None
    assert sent.call_ref is not None
    assert LlmCall.model_validate_json(shelf.held[0]).messages[0].content == "x" * 5_000
    small = encoder(shelf).encode([task()], 4, nothing)[0]
    assert record.ref == small.ref == (4, Flight("task/j/s/0", 2, 1_000)), "what is kept of a task that is out"


def test_examples_above_the_inline_limit_go_by_claim_check_and_are_one_object_for_all_tasks() -> None:
    examples = tuple(Examples(route=route, texts=(f"{route} text",) * 200) for route in ("a", "b"))
    shelf = Shelf()
    for text in ("one", "two"):
        call = EmbedCall(texts=(text,), examples=examples)
        effect = DispatchTask(task().task.model_copy(update={"call": None, "embed": call}), "j/s/0")
        record = encoder(shelf).encode([effect], 4, nothing)[0]
        sent = Task.model_validate_json(record.value or b"")
        assert sent.embed is not None
        assert (sent.embed.texts, sent.embed.examples, sent.call_ref) == ((text,), (), None)
        assert sent.embed.examples_ref is not None
    assert len(set(shelf.held)) == 1
    assert [Examples.model_validate(each) for each in json.loads(shelf.held[0])] == list(examples)


def test_texts_above_the_inline_limit_go_by_claim_check() -> None:
    shelf, call = Shelf(), EmbedCall(texts=("x" * 3_000,))
    effect = DispatchTask(task().task.model_copy(update={"call": None, "embed": call}), "j/s/0")
    sent = Task.model_validate_json(encoder(shelf).encode([effect], 4, nothing)[0].value or b"")
    assert (sent.embed, EmbedCall.model_validate_json(shelf.held[0])) == (None, call)
    assert sent.call_ref is not None


def test_what_no_topic_takes_is_refused_before_the_transaction() -> None:
    with pytest.raises(Unwritable, match="no task topic"):
        encoder().encode([task(pool="nowhere")], 4, nothing)
    with pytest.raises(Unwritable, match="bytes"):
        encoder(**{"t.tasks.small.batch": 3_000}).encode([task("x" * 5_000)], 4, nothing)
    with pytest.raises(Unwritable, match="state record"):
        encoder(**{"t.state": 3_000}).state(0, {"input/j/0": InputPart("x" * 5_000)})


def test_an_outcome_is_a_cloud_event_at_home_byte_for_byte() -> None:
    effect = EmitOutcome("j", "succeeded", b'{"job_id":"j"}', 1_000, repeat=True)
    record = encoder().encode([effect], 4, nothing)[0]
    assert (record.topic, record.partition, record.value) == ("t.outcomes", 4, b'{"job_id":"j"}')
    headers = header_map(record.headers)
    assert headers["ce_id"] == "j/outcome"
    assert headers["x-repeat"] == "true"


def test_a_deleted_record_is_a_tombstone() -> None:
    records = encoder().state(3, {"job/j": None, "cursor/jobs": Cursor(4)})
    assert [(r.key, r.value, r.partition) for r in records] == [
        (b"job/j", None, 3),
        (b"cursor/jobs", b'{"offset":4}', 3),
    ]


def test_a_dead_letter_fits_a_topic_whatever_was_read() -> None:
    source = Source("t.jobs", 1, 2, b"k" * 50_000, b"v" * 900_000, tuple(("h", b"x" * 9_000) for _ in range(50)))
    letter = dead_letter(source, reason="r", message="m" * 9_000, at_ms=1, by="me", errors=("e" * 5_000,) * 20)
    record = encoder().dead_letter(letter)
    assert len(record.value or b"") + len(record.key or b"") < 1_000_000
    assert letter.value_bytes == 900_000


def test_a_marker_that_its_topic_would_not_take_is_found_before_it_is_written() -> None:
    limited = encoder(**{TOPICS.state: 50_000})
    for size, quotes in ((60_000, False), (30_000, True)):
        outcome = encode(Outcome(job_id="j", status=JobStatus.FAILED, message=('"' if quotes else "x") * size)).decode()
        with pytest.raises(Unwritable):
            limited.check({marker_key("j"): Marker("h", "failed", outcome, 1, 2)})
    limited.check({marker_key("j"): Marker("h", "failed", "{}", 1, 2), "job/j": None})


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["", "\x00", '"', "\\", "é", "語", "😀"]))
def test_a_marker_has_at_most_four_bytes_for_each_character_of_its_outcome(text: str, repeated: str) -> None:
    outcome = encode(Outcome(job_id="j" * 200, status=JobStatus.SUCCEEDED, output=text + repeated * 2_000)).decode()
    marker = Marker("h" * 64, "succeeded", outcome, 2**62, 2**62, cancelled=True)
    size = len(encode_record(marker)) + len(marker_key("j" * 200)) + RECORD_OVERHEAD_BYTES
    assert size <= len(outcome) * 4 + MARKER_BYTES

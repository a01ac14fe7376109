"""Tasks and results survive the way over Kafka unchanged."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.schemas import task_form
from headrace.schemas.codec import decode, encode, header_map, schema_headers
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import (
    ChatMessage,
    EmbedCall,
    Examples,
    Failure,
    Lane,
    LlmCall,
    Nested,
    ObjectRef,
    Result,
    Task,
    ToolCall,
    Usage,
)
from headrace.workers.core.result_text import result_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
COUNT = st.integers(0, 1 << 50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
CALLS = st.builds(
    LlmCall,
    messages=st.lists(
        st.builds(ChatMessage, role=st.sampled_from(["system", "user", "assistant"]), content=TEXT), max_size=4
    ).map(tuple),
    max_output_tokens=st.none() | COUNT,
    temperature=st.none() | st.floats(0, 2),
    stop=st.lists(TEXT, max_size=3).map(tuple),
    output_schema=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
)
REFS = st.builds(ObjectRef, key=TEXT, size_bytes=COUNT, sha256=TEXT)
EMBEDS = st.builds(
    EmbedCall,
    texts=st.lists(TEXT, max_size=3).map(tuple),
    examples=st.lists(st.builds(Examples, route=TEXT, texts=st.lists(TEXT, max_size=3).map(tuple)), max_size=3).map(
        tuple
    ),
    examples_ref=st.none() | REFS,
)
TASKS = st.builds(
    Task,
    task_id=TEXT,
    job_id=TEXT,
    step=TEXT,
    attempt=COUNT,
    pool=TEXT,
    lane=st.sampled_from(Lane),
    reply_partition=COUNT,
    timeout_ms=COUNT,
    not_after_ms=st.none() | COUNT,
    call=st.none() | CALLS,
    call_ref=st.none() | REFS,
    tool=st.none() | st.builds(ToolCall, tool=TEXT, arguments=st.dictionaries(TEXT, JSON, max_size=3)),
    embed=st.none() | EMBEDS,
)
RESULTS = st.builds(
    Result,
    task_id=TEXT,
    job_id=TEXT,
    attempt=COUNT,
    failure=st.none() | st.builds(Failure, kind=st.sampled_from(ErrorKind), message=TEXT),
    output=JSON,
    output_ref=st.none() | REFS,
    truncated=st.booleans(),
    usage=st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT),
    cost_microusd=COUNT,
)
NAME, OFTEN_ZERO = st.just("") | TEXT, st.just(0) | COUNT
ANSWERS = st.builds(
    Result,
    task_id=TEXT,
    job_id=TEXT,
    attempt=COUNT,
    output=TEXT,
    finish_reason=NAME,
    usage=st.builds(Usage, **dict.fromkeys(Usage.model_fields, OFTEN_ZERO)),
    cost_microusd=OFTEN_ZERO,
    model=NAME | st.just("m" * 300),
    endpoint=NAME,
    pool=NAME,
    worker=NAME,
    call_ms=OFTEN_ZERO,
)
"""The usual results, with every field that they have."""
CHANGES: dict[str, list[Any]] = {
    "failure": [None, Failure(kind=ErrorKind.INTERNAL, message="m")],
    "output_ref": [None, ObjectRef(key="k", size_bytes=1, sha256="s")],
    **{name: [False, True] for name in ("truncated", "unconfirmed", "journalled")},
    "cause": ["", "kill"],
    "wrong_answer": ["", "no JSON"],
    "confidence": [None, 0.5],
    "nested": [None, Nested(attempts=1)],
}
"""What makes a result an unusual one."""


@given(TASKS)
def test_a_task_is_read_as_it_was_written(task):
    assert decode(Task, encode(task), header_map(schema_headers(Task))) == task


@given(TASKS, st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=4, max_size=4)), max_size=4))
@example(
    Task(task_id="a", job_id="a", step="s", attempt=1, pool="p", lane=Lane.BATCH, reply_partition=0, timeout_ms=1,
         tenant=task_form._MARK, call=LlmCall(messages=(ChatMessage(role="user", content="x"),))),
    [("b", [task_form._MARK] * 4)],
)  # fmt: skip
def test_tasks_of_one_form_are_written_as_each_alone(task, others):
    form = task_form.TaskForm(task)
    assert form.encode(task) == encode(task)
    for task_id, texts in others:
        if task.call is None:
            continue
        messages = tuple(
            ChatMessage(role=message.role, content=text)
            for message, text in zip(task.call.messages, texts, strict=False)
        )
        other = task.model_copy(
            update={"task_id": task_id, "call": task.call.model_copy(update={"messages": messages})}
        )
        assert form.encode(other) == encode(other)


@given(RESULTS)
def test_a_result_is_read_as_it_was_written(result):
    assert decode(Result, encode(result), header_map(schema_headers(Result))) == result
    assert result_text(result) == encode(result)


@given(ANSWERS, st.sampled_from(sorted(CHANGES)), st.integers(0, 1))
def test_what_is_written_out_field_by_field_is_what_the_encoder_writes(answer, name, at):
    result = answer.model_copy(update={name: CHANGES[name][at]})
    assert result_text(result) == encode(result)


def test_a_new_field_of_results_is_written_out_too():
    told = {"task_id", "job_id", "attempt", "output", "finish_reason", "usage", "cost_microusd", "model", "endpoint"}
    assert set(Result.model_fields) == told | {"pool", "worker", "call_ms"} | set(CHANGES), "see core/result_text.py"

"""What a shell makes of records and decisions that are too large, forged, or broken."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from headrace.orchestrator.core.state import WorkflowRecord
from headrace.orchestrator.core.view import Limits
from headrace.schemas.codec import encode
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from tests.instance import TOPICS, Instance
from tests.unit.orchestrator.test_machine import ONE
from tests.world import World, echo


def instance(inline_bytes: int = 200_000) -> Instance:
    limits = Limits(inline_bytes=inline_bytes)
    return Instance(replace(World(limits=limits).environment, objects=False), inline_bytes=inline_bytes)


def submit(made: Instance, job_id: str = "a", **fields: Any) -> Task:
    value = {"job_id": job_id, "workflow": ONE, "input": {"word": "hello"}, **fields}
    made.read(TOPICS.jobs, None, json.dumps(value).encode())
    return made.tasks[-1]


def answer(made: Instance, result: Result, headers: Any = ()) -> None:
    made.read(TOPICS.results, result.job_id.encode(), encode(result), headers)


def test_an_output_whose_marker_would_not_fit_ends_its_job_and_stops_nothing() -> None:
    made = instance(inline_bytes=900_000)
    task = submit(made)
    answer(made, echo(task).model_copy(update={"output": '"' * 400_000}))
    (outcome,) = made.outcomes
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.INTERNAL)
    assert "internal" in {letter.reason for letter in made.letters}
    answer(made, echo(submit(made, "b")))
    assert made.outcomes[-1].status is JobStatus.SUCCEEDED


def test_a_job_whose_workflow_is_gone_still_ends_when_it_is_cancelled() -> None:
    made = instance()
    submit(made)
    for key in [key for key in made.log if key.startswith("workflow/")]:
        made.store.put({key: None})
    made.store.commit()
    made.read(TOPICS.jobs, b"a", b'{"type": "cancel"}')
    assert [outcome.status for outcome in made.outcomes] == [JobStatus.CANCELLED]
    made.close()
    assert {key.partition("/")[0] for key, (_, value) in made.log.items() if value} <= {"marker", "workflow"}


def test_a_job_whose_pool_was_taken_out_of_the_file_ends_and_is_not_stuck() -> None:
    made = instance()
    task = submit(made)
    key = next(key for key in made.log if key.startswith("workflow/"))
    record = made.store.get(key)
    assert isinstance(record, WorkflowRecord)
    made.store.put({key: WorkflowRecord(record.text.replace('"small"', '"gone"'))})
    made.store.commit()
    made.store.drop_view("a")
    answer(made, echo(task))
    assert [(outcome.status, outcome.reason) for outcome in made.outcomes] == [(JobStatus.FAILED, ErrorKind.INTERNAL)]


def test_an_attempt_that_was_never_dispatched_is_set_aside_and_the_true_one_counts() -> None:
    made = instance()
    task = submit(made)
    answer(made, echo(task).model_copy(update={"attempt": 2, "output": "forged"}))
    assert [letter.reason for letter in made.letters] == ["unknown_attempt"]
    assert made.outcomes == []
    answer(made, echo(task))
    assert made.outcomes[0].output == "Say hello"


def test_an_answer_that_nests_too_deep_is_malformed_and_not_kept() -> None:
    made = instance()
    task = submit(made)
    deep = json.loads("[" * 150 + "]" * 150)
    for attempt in (1, 2, 3):
        answer(made, echo(task).model_copy(update={"output": deep, "attempt": attempt}))
        for key in [key for key, (_, value) in made.log.items() if key.startswith("task/") and value]:
            if (due := getattr(made.store.get(key), "due_ms", None)) is not None:
                made.store.put({key: replace(made.store.get(key), due_ms=min(due, 1))})
                made.store.commit()
                made.fire()
    assert [outcome.reason for outcome in made.outcomes] == [ErrorKind.MALFORMED_OUTPUT]


def test_a_tracestate_of_half_a_megabyte_is_not_passed_on() -> None:
    made = instance()
    parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = [("traceparent", parent), ("tracestate", b"x" * 500_000)]
    value = {"job_id": "a", "workflow": ONE, "input": {"word": "hello"}}
    records = made.read(TOPICS.jobs, None, json.dumps(value).encode(), headers)
    (task,) = [record for record in records if ".tasks." in record.topic]
    assert ("traceparent", parent) in task.headers
    assert sum(len(content) for _, content in task.headers) < 1_000


def test_a_task_that_fails_again_after_it_was_sent_back_says_how_often_it_was() -> None:
    made = instance()
    fan = {"name": "fan", "version": 1, "steps": {"notes": {
        "for_each": "{{ input['items'] }}", "require": {"at_least": 1},
        "llm": {"pool": "small", "prompt": "{{ item }}"},
    }}}  # fmt: skip
    submit(made, workflow=fan, input={"items": ["a", "b"]})
    bad = made.tasks[0]

    def fail(attempt: int) -> None:
        failure = Failure(kind=ErrorKind.BAD_REQUEST, message="no")
        answer(made, echo(bad).model_copy(update={"failure": failure, "output": None, "attempt": attempt}))

    fail(1)
    order = json.dumps({"type": "redrive", "job_id": "a", "name": bad.task_id, "payload": {"pool": "large"}}).encode()
    made.read(TOPICS.jobs, b"a", order, [("x-redrives", b"2")])
    made.fire()
    assert (made.tasks[-1].task_id, made.tasks[-1].pool, made.tasks[-1].attempt) == (bad.task_id, "large", 2)
    made.restart()
    fail(2)
    assert [(letter.reason, letter.redrives, letter.pool) for letter in made.letters] == [
        ("exhausted", 0, "small"), ("exhausted", 2, "large"),
    ]  # fmt: skip
    assert made.letters[1].attempts[-1].message == "no"

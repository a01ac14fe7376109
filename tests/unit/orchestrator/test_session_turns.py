"""Turns of a session in the shell: the next one is dealt, also after a restart; and what records may be keyed by."""

from __future__ import annotations

import json
from typing import Any

from headrace.orchestrator.core.session_record import Session, session_key
from headrace.schemas.codec import encode
from headrace.schemas.messages import JobStatus
from tests.instance import TOPICS, Instance
from tests.unit.orchestrator.test_sessions import turns
from tests.world import World, echo


def made() -> Instance:
    return Instance(World().environment)


def submit(instance: Instance, job_id: str, key: bytes | None = None) -> None:
    value = {"job_id": job_id, "workflow": turns(), "input": {"word": job_id}}
    instance.read(TOPICS.jobs, key, json.dumps(value).encode())


def out(instance: Instance) -> list[str]:
    return [task.task_id for task in instance.tasks]


def answer(instance: Instance, task_id: str) -> None:
    task = next(task for task in instance.tasks if task.task_id == task_id)
    instance.read(TOPICS.results, task.job_id.encode(), encode(echo(task)))


def test_the_end_of_a_turn_has_the_next_one_dealt_in_the_same_transaction() -> None:
    instance = made()
    for name in ("s::1", "s::2"):
        submit(instance, name)
        answer(instance, f"{name}/look/0")
    assert "s::2/reply/0" not in out(instance)
    answer(instance, "s::1/reply/0")
    assert out(instance)[-1] == "s::2/reply/0"


def test_after_a_restart_a_turn_waits_on_and_is_dealt_when_it_comes() -> None:
    instance = made()
    for name in ("s::1", "s::2"):
        submit(instance, name)
        answer(instance, f"{name}/look/0")
    instance.restart()
    instance.decider.stand_again(instance.partition, instance.store.running())
    instance.deal()
    assert "s::2/reply/0" not in out(instance)
    answer(instance, "s::1/reply/0")
    answer(instance, "s::2/reply/0")
    assert [outcome.status for outcome in instance.outcomes] == [JobStatus.SUCCEEDED] * 2
    assert instance.log[session_key("s")][1] is None


def test_a_turn_that_was_decided_and_not_committed_still_waits() -> None:
    instance = made()
    submit(instance, "s::1")
    instance.store.put({session_key("s"): Session(("s::2",))}, "s::1")
    assert list(instance.store.touched) == ["s::1", "s::2"]
    instance.store.rollback()
    assert instance.store.get(session_key("s")) == Session(("s::1",))


def test_a_submission_may_be_keyed_by_its_session_and_by_no_other() -> None:
    instance = made()
    submit(instance, "s::1", b"s")
    submit(instance, "s::2", b"s::2")
    submit(instance, "s::3", b"t")
    assert [(outcome.job_id, outcome.status) for outcome in instance.outcomes] == [("s::3", JobStatus.REJECTED)]
    assert instance.store.get(session_key("s")) == Session(("s::1", "s::2"))


def test_a_cancel_may_be_keyed_by_its_session_too() -> None:
    instance = made()
    submit(instance, "s::1", b"s")
    order: dict[str, Any] = {"type": "cancel", "job_id": "s::1"}
    instance.read(TOPICS.jobs, b"s", json.dumps(order).encode())
    assert [outcome.status for outcome in instance.outcomes] == [JobStatus.CANCELLED]

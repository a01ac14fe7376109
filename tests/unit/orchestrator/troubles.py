"""Jobs in trouble: workflows, failures and steps that the tests of retries share."""

from __future__ import annotations

from typing import Any

from headrace.orchestrator.core.events import TimerFired
from headrace.orchestrator.core.state import JobHeader, TaskRecord, job_key, task_key
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, Result, Task, Usage
from tests.world import World, echo


def one(**step: Any) -> dict[str, Any]:
    llm = {"pool": "small", "prompt": "Say {{ input.word }}", "max_output_tokens": 20}
    return {"name": "one", "version": 1, "steps": {"answer": {"llm": llm, **step}}}


def fan(**step: Any) -> dict[str, Any]:
    llm = {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 20}
    return {"name": "fan", "version": 1, "steps": {"notes": {"for_each": "{{ input.items }}", "llm": llm, **step}}}


def failed(task: Task, kind: ErrorKind, **fields: Any) -> Result:
    wish = fields.pop("retry_after_ms", None)
    failure = Failure(kind=kind, message=f"scripted {kind.value}", retry_after_ms=wish)
    nothing = {"failure": failure, "output": None, "usage": Usage()}
    return echo(task).model_copy(update={**nothing, **fields})


def killed(task: Task) -> Result:
    return failed(task, ErrorKind.INTERRUPTED, cause="kill", unconfirmed=True, cost_microusd=0)


def header(world: World) -> JobHeader:
    found = world.records[job_key("a")]
    assert isinstance(found, JobHeader)
    return found


def record(world: World, step: str = "answer", index: int = 0) -> TaskRecord:
    found = world.records[task_key("a", step, index)]
    assert isinstance(found, TaskRecord)
    return found


def take_task(world: World) -> Task:
    world.deal()
    return world.tasks.pop(0)


def fire_due(world: World, step: str = "answer", index: int = 0) -> None:
    due = record(world, step, index).due_ms
    assert due is not None
    world.now_ms = max(world.now_ms, due)
    world.take("a", TimerFired(task_key("a", step, index)))

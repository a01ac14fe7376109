"""Answers of models for the tests of patterns: by pool, by prompt, with prices and confidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Event, Failure, Result, Task, Usage
from tests.world import POOLS, Answer, World


def reply(
    task: Task, output: Any, *, confidence: float | None = None, tokens: tuple[int, int] = (1_000, 100)
) -> Result:
    """Return a good result that costs what its pool asks for these tokens."""
    usage = Usage(input_tokens=tokens[0], output_tokens=tokens[1])
    return Result(
        task_id=task.task_id,
        job_id=task.job_id,
        attempt=task.attempt,
        output=output,
        usage=usage,
        cost_microusd=POOLS[task.pool].price.cost_microusd(*tokens),
        confidence=confidence,
        pool=task.pool,
        model=task.pool,
    )


def refusal(task: Task, kind: ErrorKind = ErrorKind.BAD_REQUEST) -> Result:
    """Return a failed result."""
    return reply(task, None).model_copy(update={"failure": Failure(kind=kind, message="no"), "cost_microusd": 0})


def by_index(*outputs: Any) -> Answer:
    """Answer each task of a step with the output at its index; an error kind is a failure, a function makes it."""

    def answer(task: Task) -> Result:
        output = outputs[int(task.task_id.rpartition("/")[2])]
        if isinstance(output, ErrorKind):
            return refusal(task, output)
        return output(task) if isinstance(output, Callable) else reply(task, output)  # type: ignore[arg-type]

    return answer


def workflow(step: dict[str, Any], output: Any = "{{ s }}", **steps: Any) -> dict[str, Any]:
    """Return a workflow with a step ``s``, and others behind it."""
    return {"name": "w", "version": 1, "steps": {"s": step, **steps}, "output": output}


def events(world: World, kind: str) -> list[dict[str, Any]]:
    """Return the data of all events of a kind."""
    found = [effect.event for effect in world.effects if isinstance(getattr(effect, "event", None), Event)]
    return [event.data for event in found if event.type == kind]


def text(task: Task) -> str:
    """Return a task's last message."""
    assert task.call is not None
    return task.call.messages[-1].content

"""What agents were let do: only what their prompts offer, within the bounds that any of them has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.simulation.deployment import TOOLS
from tests.simulation.errands import MAX_CALLS, MAX_TURNS
from tests.simulation.history import History

STEP = "agent"
Tasks = dict[str, dict[str, Any]]


def agents(history: History) -> Iterator[str]:
    """Compare the tasks of each agent with what it was offered."""
    by_job: dict[str, Tasks] = {}
    for (task_id, _), task in history.dispatched.items():
        if task["step"] == STEP:
            by_job.setdefault(task["job_id"], {})[task_id] = task
    for job_id, tasks in by_job.items():
        yield from _agent(job_id, tasks)


def _agent(job_id: str, tasks: Tasks) -> Iterator[str]:
    called = {task_id: task["tool"]["tool"] for task_id, task in tasks.items() if task["pool"] == TOOLS}
    turns = len(tasks) - len(called)
    if turns > MAX_TURNS or len(called) > MAX_CALLS:
        yield f"the agent of {job_id} had {turns} turns and {len(called)} calls"
    # A conversation that is large travels by reference: then the first turn says what is offered.
    prompts = [task["call"] for task in tasks.values() if task.get("call")]
    offered = {tool["name"] for call in prompts for tool in call["tools"]}
    for task_id, tool in called.items():
        if offered and tool not in offered:
            yield f"{task_id} calls {tool}, and was offered {', '.join(sorted(offered))}"
    for call in prompts:
        yield from _conversation(job_id, call["messages"])


def _conversation(job_id: str, messages: list[dict[str, Any]]) -> Iterator[str]:
    asked = [use["id"] for message in messages for use in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    if asked != answered:
        yield f"the agent of {job_id} asked for {asked} and was told of {answered}"

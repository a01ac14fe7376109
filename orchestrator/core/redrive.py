"""An operator sends a task back that failed for good: one more life for it, while its job and its step still run."""

from __future__ import annotations

from dataclasses import replace

from headrace.orchestrator.core.events import TaskRedriven
from headrace.orchestrator.core.graph import Step
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.sensitivity import is_confidential
from headrace.orchestrator.core.state import Phase, StepStatus, TaskRecord, TaskStatus
from headrace.orchestrator.core.task_calls import pool_of, tool_of
from headrace.orchestrator.core.task_edit import TaskEdit
from headrace.orchestrator.core.turn import Turn
from headrace.orchestrator.core.values import walked
from headrace.schemas.errors import DecodeError
from headrace.schemas.ids import TaskId

MAX_EDIT_CHARS = 65_536
"""Of an edited prompt: it stands in the task's record, which is written with every attempt."""


def redriven(turn: Turn, event: TaskRedriven) -> None:
    """Let a failed task be tried again, by its step's policy from the beginning; or set the order aside."""
    header = turn.header_or_none()
    if header is None or header.phase is not Phase.RUNNING or header.ending is not None:
        turn.set_aside("job_over", f"job {turn.job_id} does not run: its outcome stands; submit it under another id")
        return
    try:
        task_id = TaskId.parse(event.task_id)
    except DecodeError as error:
        turn.set_aside("unknown_task", error.message)
        return
    record = turn.task(task_id.step, task_id.index)
    if task_id.job_id != turn.job_id or record is None:
        turn.set_aside("unknown_task", f"task {event.task_id} of job {turn.job_id} was never dispatched")
    elif record.status is not TaskStatus.FAILED or turn.step_state(task_id.step).status is not StepStatus.RUNNING:
        turn.set_aside("task_over", f"task {event.task_id} is {record.status.value}: only a failed one can go again")
    elif _gone_on(turn, turn.graph.step(task_id.step), task_id.index):
        set_aside = f"step {task_id.step} went on without task {event.task_id}: submit the job under another id"
        turn.set_aside("task_over", set_aside)
    elif refusal := _refusal(turn, turn.graph.step(task_id.step), task_id.index, event, record):
        turn.set_aside("invalid_redrive", refusal)
    else:
        _reopen(turn, task_id, record, event)


def _gone_on(turn: Turn, step: Step, index: int) -> bool:
    """Return whether a script decided already what follows from this task's failure."""
    return step.script is not None and index < walked(turn, step).stage


def _refusal(turn: Turn, step: Step, index: int, event: TaskRedriven, record: TaskRecord) -> str | None:
    """Return why a redrive cannot be: another pool or prompt must hold what the step's own had to hold."""
    pool = event.pool or pool_of(turn, step, index, record)
    environment = turn.environment
    if step.nested is not None:
        return "a nested job is not sent back: redrive its own tasks while it runs, or submit the job anew"
    if not step.makes_tasks or pool not in environment.pools:
        return f"unknown pool {pool[:80]!r}"
    if pool in environment.public_pools and is_confidential(turn, step):
        return f"pool {pool!r} is public, and the task is confidential"
    tool = tool_of(turn, step, index)
    if tool is not None and (event.messages is not None or event.pool not in (None, tool.pool)):
        return "a call of a tool has no prompt and no other pool: it is sent back as it was"
    if event.messages is not None and isinstance(step.script, AgentPlan):
        return "an agent's conversation follows from its turns and calls: it is sent back as it was"
    if event.pool is not None and (serves := environment.pools[event.pool].serves) != "chat":
        return f"pool {event.pool!r} serves {serves}, and answers no prompts"
    if event.messages is not None and sum(len(content) for _, content in event.messages) > MAX_EDIT_CHARS:
        return f"the edited prompt is above {MAX_EDIT_CHARS:,} characters"
    return None


def _reopen(turn: Turn, task_id: TaskId, record: TaskRecord, event: TaskRedriven) -> None:
    edited = event.pool is not None or event.messages is not None
    waiting = replace(
        record,
        status=TaskStatus.RETRYING,
        at_ms=turn.now_ms,
        due_ms=turn.now_ms,
        free=record.attempt,
        kills=0,
        stops=0,
        repair=None,
        redrives=max(event.redrives, record.redrives + 1),
        edit=TaskEdit(event.pool, event.messages) if edited else record.edit,
    )
    turn.put_task(task_id.step, task_id.index, waiting)
    state = turn.step_state(task_id.step)
    turn.set_step(task_id.step, replace(state, failed=state.failed - 1, retrying=state.retrying + 1))
    turn.announce("task.redriven", step=task_id.step, subject=f"{task_id.index}/{record.attempt}", index=task_id.index)

"""What a script sees of a task's call, whatever kind of call it is. Pure."""

from __future__ import annotations

import json
from typing import Any

from headrace.schemas.messages import LlmCall, Task


def prompt_of(task: Task) -> str:
    """Return the text of a call: messages, or texts to be embedded, joined by line breaks; of a tool, its JSON."""
    if task.call is not None:
        return "\n".join(message.content for message in task.call.messages)
    if task.embed is not None:
        return "\n".join(task.embed.texts)
    return json.dumps(other_call(task), ensure_ascii=False)


def last_of(task: Task) -> str:
    """Return what is echoed: the last message; of another kind of call, its JSON."""
    if task.call is not None:
        return task.call.messages[-1].content if task.call.messages else ""
    return prompt_of(task)


def schema_of(task: Task) -> dict[str, Any] | None:
    """Return the JSON Schema that the answer must hold, where there is one."""
    return task.call.output_schema if isinstance(task.call, LlmCall) else None


_OF_EVERY_TASK = frozenset(
    (
        *("task_id", "job_id", "step", "attempt", "kind", "pool", "lane", "reply_partition", "tenant", "sensitivity"),
        *("workflow", "template_hash", "timeout_ms", "not_after_ms", "dispatched_at_ms", "call", "call_ref"),
    )
)


def other_call(task: Task) -> Any:
    """Return a call that is none of a model, as JSON: the fields of the task that only such calls have."""
    fields = task.model_dump(mode="json", exclude=set(_OF_EVERY_TASK), exclude_defaults=True)
    return next(iter(fields.values())) if len(fields) == 1 else fields

"""Under which key a task goes to its topic: tasks of one key lie in one partition. Pure."""

from __future__ import annotations

from hashlib import sha256

from headrace.orchestrator.core.steps import KeyRule, Step
from headrace.schemas.codec import canonical_json
from headrace.schemas.ids import murmur2, session_of
from headrace.schemas.messages import LlmCall, Task


def record_key(step: Step, task: Task, *, spread_over: int) -> str:
    """Return the key of a task's record.

    Args:
        spread_over: on how many keys the tasks of one prompt prefix are spread.
    """
    match step.key:
        case KeyRule.SPREAD:
            return task.task_id
        case KeyRule.SESSION:
            return session_of(task.job_id) or task.task_id
        case KeyRule.PREFIX if task.call is not None:
            return f"{_prefix(task.call, task.template_hash)}-{murmur2(task.task_id.encode()) % spread_over}"
        case KeyRule.PREFIX:
            return task.task_id  # What has no prompt, such as the comparison of a route, has nothing to cache.


def _prefix(call: LlmCall, template_hash: str) -> str:
    """Return what tells one prompt prefix from another: all messages but the last; of a lone one, its template."""
    ahead = call.messages[:-1]
    text = canonical_json([[each.role, each.content] for each in ahead]) if ahead else template_hash.encode()
    return sha256(text).hexdigest()[:16]

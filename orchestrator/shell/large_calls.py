"""Tasks that are too large for their topic: what makes them so goes into the object store, and they name it."""

from __future__ import annotations

from typing import Protocol

from headrace.schemas.codec import canonical_json, encode
from headrace.schemas.messages import ObjectRef, Task


class Objects(Protocol):
    """The object store, as the encoder uses it."""

    def put(self, content: bytes) -> ObjectRef: ...


def by_reference(task: Task, objects: Objects) -> Task:
    """Return the task with its call as a claim check.

    Of a call with examples these are put away alone: they are the same for every task of a step, and so one object.
    """
    if (call := task.call or task.tool) is not None:
        return task.model_copy(update={"call": None, "tool": None, "call_ref": objects.put(encode(call))})
    if task.embed is None:
        return task
    if not task.embed.examples:
        return task.model_copy(update={"embed": None, "call_ref": objects.put(encode(task.embed))})
    examples = objects.put(canonical_json([each.model_dump() for each in task.embed.examples]))
    return task.model_copy(update={"embed": task.embed.model_copy(update={"examples": (), "examples_ref": examples})})

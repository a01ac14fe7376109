"""The JSON of many tasks that differ in their id and in the texts of their prompts alone.

What they have in common is encoded once. The rest is spliced in, byte for byte what `codec.encode` writes.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _text

from headrace.schemas.base import remade
from headrace.schemas.calls import ChatMessage, Task
from headrace.schemas.codec import encode

_MARK = "\ue0f0headrace\ue0f1"
"""Stands where something is spliced in. Whoever writes it into a workflow has the tasks of it encoded one by one."""
_QUOTED = f'"{_MARK}"'


class TaskForm:
    """The form of the tasks of one grant.

    Args:
        first: one of them; they all have as many messages in the same roles, and its values in every other field.
    """

    __slots__ = ("_first", "_pieces")

    def __init__(self, first: Task) -> None:
        self._first = first
        self._pieces: list[str] | None = None

    def encode(self, task: Task) -> bytes:
        """Return the JSON of one of the tasks."""
        if self._pieces is None:
            self._pieces = _cut(self._first)
        pieces = self._pieces
        if not pieces or task.call is None:
            return encode(task)
        messages = task.call.messages
        if len(messages) == 1:  # As most have.
            return f"{pieces[0]}{_text(task.task_id)}{pieces[1]}{_text(messages[0].content)}{pieces[2]}".encode()
        values = [_text(task.task_id), *(_text(message.content) for message in messages)]
        return "".join([*(part for pair in zip(pieces, values, strict=False) for part in pair), pieces[-1]]).encode()


def _cut(first: Task) -> list[str]:
    """Return what stands before, between and behind what is spliced in; nothing where that cannot be told."""
    if first.call is None:
        return []
    messages: tuple[ChatMessage, ...] = tuple(remade(message, content=_MARK) for message in first.call.messages)
    form = encode(remade(first, task_id=_MARK, call=remade(first.call, messages=messages)))
    pieces = form.decode().split(_QUOTED)
    return pieces if len(pieces) == 2 + len(messages) else []

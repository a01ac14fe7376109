"""The messages that cross Kafka. `Submission` is the public contract; the others are what Headrace writes.

Times are milliseconds since the epoch (``*_ms``) except where a producer writes them: there they are RFC 3339.
Money is whole micro-US-dollars. What a producer writes is closed (an unknown field is refused, with a suggestion);
what Headrace reads of itself is open, so that a newer process may add fields during a rolling deploy.
"""

from __future__ import annotations

from typing import Literal

from headrace.schemas.base import Lane, Message, ObjectRef, Sensitivity
from headrace.schemas.calls import (
    Attempt,
    ChatMessage,
    EmbedCall,
    Examples,
    Failure,
    LlmCall,
    Nested,
    Result,
    Task,
    ToolCall,
    ToolOffer,
    ToolUse,
    Usage,
)
from headrace.schemas.letters import AttemptNote, DeadLetter, Origin, Resolution
from headrace.schemas.outcomes import (
    Event,
    FailedItem,
    JobStatus,
    Outcome,
    PatternReceipt,
    PoolReceipt,
    Receipt,
    StepReceipt,
    Unconfirmed,
)
from headrace.schemas.submission import MAX_LABELS, Budget, ItemsPart, ItemsRef, ParentRef, Redrive, Submission

__all__ = [
    "Attempt",
    "AttemptNote",
    "Budget",
    "ChatMessage",
    "Control",
    "DeadLetter",
    "EmbedCall",
    "Event",
    "Examples",
    "FailedItem",
    "Failure",
    "JobStatus",
    "ItemsPart",
    "Nested",
    "ItemsRef",
    "Lane",
    "LlmCall",
    "MAX_LABELS",
    "Message",
    "ObjectRef",
    "Origin",
    "Outcome",
    "ParentRef",
    "PatternReceipt",
    "PoolReceipt",
    "Receipt",
    "Redrive",
    "Resolution",
    "Result",
    "Sensitivity",
    "StepReceipt",
    "Submission",
    "Task",
    "ToolCall",
    "ToolOffer",
    "ToolUse",
    "Unconfirmed",
    "Usage",
]


class Control(Message):
    """A standing order to every process, on ``control``; a tombstone lifts it."""

    subject: str
    """``job/<id>``, ``task/<job>/<step>/<index>``, ``pool/<name>`` or ``endpoint/<id>``."""
    action: Literal["cancel", "pause"]
    """What to do."""
    at_ms: int
    """When it was ordered."""
    reason: str = ""
    """Why."""

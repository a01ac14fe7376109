"""The words of scripts: what a kind's module is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.gathering import task_value
from headrace.orchestrator.core.llm_plan import LlmPlan
from headrace.orchestrator.core.semantic import SemanticPlan
from headrace.orchestrator.core.state import TaskRecord, TaskStatus
from headrace.orchestrator.core.steps import RetryRules, Step
from headrace.orchestrator.core.told import Told
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.orchestrator.core.turn import Turn
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ChatMessage, Failure, PatternReceipt

Evaluate = Callable[[str, Mapping[str, Any]], Any]
"""Returns a template's value with the step's context and further names."""


def _no_names() -> Mapping[str, Any]:
    return {}


def _no_messages() -> tuple[ChatMessage, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Call:
    """What one task of a step is."""

    llm: LlmPlan | None = None
    """The model call, or None."""
    names: Callable[[], Mapping[str, Any]] = _no_names
    """Gives the names that its templates know beside the step's own; called where they are rendered."""
    retry: RetryRules | None = None
    """How it is tried again; None: as the step says."""
    tool: ToolPlan | None = None
    """The call of a tool, where it is one."""
    arguments: dict[str, Any] | None = None
    """Its arguments as they are, where a model chose them; None: the templates of `tool` make them."""
    semantic: SemanticPlan | None = None
    """The comparison with examples, where it is one."""
    compulsory: bool = False
    """Whether it goes out whatever the budget and the deadline say, and lies in the dead letters where it fails."""
    more: Callable[[], tuple[ChatMessage, ...]] = _no_messages
    """Gives the messages that follow those of its templates; called where they are rendered."""

    @property
    def pool(self) -> str:
        """The pool whose workers make it."""
        if self.tool is not None:
            return self.tool.pool
        if self.semantic is not None:
            return self.semantic.pool
        assert self.llm is not None, "a call is of a model or of a tool"
        return self.llm.pool


def call_to(callee: LlmPlan | ToolPlan, names: Callable[[], Mapping[str, Any]] = _no_names) -> Call:
    """Return the call of a model or of a tool."""
    return Call(tool=callee, names=names) if isinstance(callee, ToolPlan) else Call(callee, names)


@dataclass(frozen=True, slots=True)
class News:
    """An event to announce."""

    kind: str
    subject: str
    """What tells it from others of its kind in the step: a replay gives the same."""
    data: dict[str, Any]
    keep: str = ""
    """The branch that the job's session is to keep."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Calls that go out side by side; at least one."""

    calls: tuple[Call, ...]
    news: tuple[News, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The step's end, well."""

    value: Callable[[], Any]
    """Gives the step's output; called where it is read, since it may lie in the object store."""
    news: tuple[News, ...] = ()
    receipt: PatternReceipt | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The step's end, for want of an answer."""

    failure: Failure
    news: tuple[News, ...] = ()
    receipt: PatternReceipt | None = None


Verdict = Stage | Finished | Failed


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one task."""

    turn: Turn
    step: Step
    index: int
    record: TaskRecord | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.record is not None and self.record.ended

    @property
    def told(self) -> Told:
        """What its attempts cost and how sure it was."""
        return (self.record.told if self.record else None) or Told()

    @property
    def good(self) -> bool:
        """Whether there is an answer, and it came in time."""
        return self.record is not None and self.record.status is TaskStatus.DONE and not self.told.late

    @property
    def failure(self) -> Failure:
        """Why there is none."""
        failure = self.record.failure if self.record else None
        return failure or Failure(kind=ErrorKind.CANCELLED, message="there is no answer")

    def value(self) -> Any:
        """Return the answer.

        Raises:
            PayloadLost: it lay in the object store.
            DependencyUnavailable: it cannot be read now.
        """
        return task_value(self.turn, self.step, self.index)


@dataclass(slots=True)
class Run:
    """A script as far as it went."""

    turn: Turn
    step: Step
    evaluate: Evaluate
    past: list[tuple[Answer, ...]] = field(default_factory=list)
    """The answers of the stages that are complete."""
    kept: Any = None
    """What the kind made of those that it has seen: of a long script all would be read again with each stage."""

    def holds(self, condition: str, names: Mapping[str, Any] | None = None) -> bool:
        """Return whether a condition holds: its value is neither false, null, zero nor empty."""
        return bool(self.evaluate(condition, names or {}))


def answer_value(answer: Answer) -> Callable[[], Any]:
    """Return what gives an answer's value where it is read."""
    return answer.value

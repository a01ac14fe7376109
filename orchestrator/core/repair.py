"""A wrong answer is shown to the model that gave it, with what is wrong with it: once for each task. Pure.

The orchestrator does it and not the worker: an attempt is one provider call, and what the next one says is written down
before it goes out. It stands in the task's record from the wrong answer to the answer that was made of it.
"""

from __future__ import annotations

from headrace.schemas.base import trusted
from headrace.schemas.errors import KINDS, ErrorKind
from headrace.schemas.messages import ChatMessage, Failure, Result
from headrace.schemas.values import value_object


@value_object(frozen=True, slots=True)
class Repair:
    """What the next attempt shows; both are empty once a model has seen it."""

    answer: str = ""
    """The answer that did not hold its schema, cut by the worker."""
    problem: str = ""
    """What is wrong with it."""

    @property
    def is_open(self) -> bool:
        """Whether the next attempt shows it."""
        return self.answer != ""

    def messages(self) -> tuple[ChatMessage, ChatMessage]:
        """Return what goes behind the prompt."""
        said = f"That answer cannot be used: {self.problem}\nAnswer again, in full and in the form that was asked for."
        return (
            trusted(ChatMessage, role="assistant", content=self.answer),
            trusted(ChatMessage, role="user", content=said),
        )


def next_repair(before: Repair | None, failure: Failure, report: Result | None) -> Repair | None:
    """Return what the attempt after a failed one shows.

    Args:
        before: what the failed one showed, or was shown earlier.
        report: the result that told of the failure; None where there is none.
    """
    if failure.kind is ErrorKind.MALFORMED_OUTPUT:
        first = before is None and report is not None
        return Repair(report.wrong_answer, failure.message) if first and report is not None else Repair()
    if before is not None and not KINDS[failure.kind].retriable:
        return Repair()  # What was shown may itself be what was refused.
    return before

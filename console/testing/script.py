"""Which answer a call gets: a case's rules, and what was given before. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.console.testing.calls import prompt_of
from headrace.schemas.messages import Task
from headrace.schemas.workflow_tests import AnswerSpec, RuleSpec

ECHO = AnswerSpec()


class Pick(NamedTuple):
    """An answer that was chosen for a call."""

    spec: AnswerSpec
    groups: tuple[str | None, ...] = ()
    """Of the rule's expression."""


@dataclass(slots=True)
class _Used:
    """What a rule gave so far."""

    calls: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    """The place in `in_order` of each task."""


class Script:
    """Picks answers. Asked once for each call, in the order of dispatch.

    Args:
        rules: the first that fits answers.
    """

    def __init__(self, rules: Sequence[RuleSpec]) -> None:
        self._rules = [(rule, re.compile(rule.prompt) if rule.prompt is not None else None) for rule in rules]
        self._used = [_Used() for _ in rules]

    def pick(self, task: Task) -> Pick:
        """Return the answer of a call."""
        prompt, index = prompt_of(task), index_of(task)
        for (rule, pattern), used in zip(self._rules, self._used, strict=True):
            if not _is_for(rule, task, index):
                continue
            found = pattern.search(prompt) if pattern is not None else None
            if pattern is not None and found is None:
                continue
            if (spec := _answer(rule, used, task)) is not None:
                return Pick(spec, found.groups() if found else ())
        return Pick(ECHO)

    def unused(self) -> list[int]:
        """Return the rules, by number, that answered no call."""
        return [number for number, used in enumerate(self._used) if not used.calls]


def index_of(task: Task) -> int:
    """Return a task's number within its step."""
    return int(task.task_id.rpartition("/")[2])


def _is_for(rule: RuleSpec, task: Task, index: int) -> bool:
    return (
        rule.step in (None, task.step)
        and rule.pool in (None, task.pool)
        and rule.index in (None, index)
        and rule.attempt in (None, task.attempt)
    )


def _answer(rule: RuleSpec, used: _Used, task: Task) -> AnswerSpec | None:
    """Return what the rule says to a call that it is for; None where it has nothing left."""
    if rule.times is not None and used.calls >= rule.times:
        return None
    spec: AnswerSpec = rule
    if rule.in_order:
        place = used.tasks.setdefault(task.task_id, len(used.tasks))
        if place >= len(rule.in_order):
            return None
        spec = rule.in_order[place]
    elif rule.attempts:
        spec = rule.attempts[min(task.attempt, len(rule.attempts)) - 1]
    used.calls += 1
    return spec

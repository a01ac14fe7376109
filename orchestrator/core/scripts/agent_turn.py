"""What a model said in one turn of an agent: an answer, or the calls of tools that it asks for, each looked at.

A turn's output comes from outside, and what it asks for is the model's: names that are no tools, arguments that are no
JSON, a hundred calls. Each call that cannot be made has a reason that the model is told, and can mend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from headrace.orchestrator.core.json_schema import findings
from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.run import Answer
from headrace.schemas.calls import MAX_TOOL_USES

T = TypeVar("T")

MAX_ARGUMENTS = 65_536
"""Characters of a call's arguments."""
MAX_SAID = 500
"""Characters of what is wrong with a call, or of a tool's failure, that the model is told."""
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")
"""What providers take in no name of a tool."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a tool that the model asks for."""

    tool: str
    """The tool, by a name that providers take back."""
    text: str
    """Its arguments as the conversation has them: a JSON object."""
    arguments: dict[str, Any]
    """The same, read."""
    reason: str = ""
    """Why it is not made: ``unlisted``, ``arguments`` or ``bound``; empty where it is."""
    problem: str = ""
    """The reason as the model is told it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model said in one turn."""

    content: Any
    """Its answer; beside calls a text, which may be empty."""
    asked: tuple[Asked, ...] = ()
    """The calls that it asks for."""


def read_turn(plan: AgentPlan, answer: Answer) -> Said | None:
    """Return what was said in a turn that is done; None where its output is none of a turn."""
    return remembered(answer, lambda: _read(plan, answer.value()))


def told_of(plan: AgentPlan, answer: Answer) -> str:
    """Return what the model is told of a call that was made; a long answer is cut, and says so."""
    return remembered(answer, lambda: _told(plan, answer))


def remembered(answer: Answer, make: Callable[[], T]) -> T:
    """Return what is made of an answer, once as long as the job's memo lasts.

    A turn is looked at with every event of its job, and a large answer with every turn that follows: that schemas are
    checked and objects are read anew each time would be paid by the other jobs.
    """
    kept, key, record = answer.turn.view.memo.values, f"agent/{answer.step.name}/{answer.index}", answer.record
    # What ended stays as it is, but for a failed task that is sent back; that is another attempt then.
    which = None if record is None else (record.status, record.attempt)
    if key not in kept or kept[key][0] != which:
        kept[key] = (which, make())
    found: T = kept[key][1]
    return found


def _told(plan: AgentPlan, answer: Answer) -> str:
    if not answer.good:
        failure = answer.failure
        return f"failed: {failure.kind.value}: {failure.message}"[:MAX_SAID]
    value, most = answer.value(), plan.answer_characters
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[cut: these are the first {most:,} of {len(text):,} characters]"


def _read(plan: AgentPlan, value: Any) -> Said | None:
    if not isinstance(value, dict) or not isinstance(uses := value.get("tool_calls"), list) or "content" not in value:
        return None
    if json_problem(value):
        return None
    if not uses:
        return Said(value["content"])
    content = value["content"] if isinstance(value["content"], str) else ""
    asked: list[Asked] = []
    for use in uses[:MAX_TOOL_USES]:
        found = _asked(plan, use)
        if found is None:
            return None
        going = sum(not each.reason for each in asked)
        if not found.reason and going >= plan.max_parallel:
            found = Asked(found.tool, found.text, found.arguments, "bound", _at_most(plan.max_parallel, "a turn"))
        asked.append(found)
    return Said(content, tuple(asked))


def _asked(plan: AgentPlan, use: Any) -> Asked | None:
    name, text = (use.get("name"), use.get("arguments")) if isinstance(use, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(text, str):
        return None
    arguments = _object(text)
    tool, listed = _NO_NAME.sub("_", name)[:64] or "unknown", name in plan.allowed
    kept = text.strip() if not isinstance(arguments, str) and text.strip() else "{}"
    if not listed:
        problem = f"there is no tool {tool} here; there are: {', '.join(plan.allowed)}"
        return Asked(tool, kept, {}, "unlisted", problem)
    if isinstance(arguments, str):
        return Asked(tool, kept, {}, "arguments", f"the arguments cannot be read: {arguments}"[:MAX_SAID])
    if wrong := findings(plan.allowed[name].schema, arguments):
        return Asked(tool, kept, {}, "arguments", f"the arguments do not hold: {'; '.join(wrong)}"[:MAX_SAID])
    return Asked(tool, kept, arguments)


def _object(text: str) -> dict[str, Any] | str:
    """Return the arguments, or what is wrong with them; no text is an object without members."""
    if len(text) > MAX_ARGUMENTS:
        return f"they have {len(text):,} characters; at most {MAX_ARGUMENTS:,} are taken"
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        return f"they are no JSON: {str(error)[:200]}"
    if not isinstance(value, dict):
        return "a JSON object is needed"
    if found := json_problem(value):
        return f"{found[0] or 'value'}: {found[1]}"
    return value


def _at_most(number: int, where: str) -> str:
    return f"at most {number} calls {where} are made; ask for the others again"

"""From a scripted answer to the result of a worker: judged and priced by the worker's own rules. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from headrace.console.testing.calls import last_of, other_call, prompt_of, schema_of
from headrace.console.testing.driver import Answered, Draws
from headrace.console.testing.script import Pick, Script, index_of
from headrace.runtime.output import OutputSchemas
from headrace.runtime.turns import judge_answer
from headrace.schemas.cost import cost_microusd
from headrace.schemas.errors import ErrorKind
from headrace.schemas.json_texts import map_texts
from headrace.schemas.messages import EmbedCall, Failure, Result, Task, ToolUse, Usage
from headrace.schemas.pools import Pool
from headrace.schemas.schema_sample import json_for
from headrace.schemas.workflow_tests import AnswerSpec

TOKEN_CHARS = 4
SLOWEST_MS = 100
"""Of calls whose answer does not say how long it takes."""
SCHEMAS = OutputSchemas()
"""Compiled once for all cases."""
_UNKNOWN_BILL = (ErrorKind.TIMEOUT, ErrorKind.INTERRUPTED)
"""Nobody knows whether the provider did such a call and billed it."""


class Answerer:
    """Answers calls by a script.

    Args:
        script: which answer a call gets.
        pools: for their prices and models.
        draws: how long a call takes whose answer does not say it.
    """

    def __init__(self, script: Script, pools: Mapping[str, Pool], draws: Draws) -> None:
        self._script, self._pools, self._draws = script, pools, draws

    def answer(self, task: Task) -> Answered:
        """Return what a call comes to."""
        pick = self._script.pick(task)
        spec, takes_ms = pick.spec, self._takes_ms(pick.spec, task)
        fields = self._late(task) if takes_ms > task.timeout_ms else None
        fields = fields or (self._failed(spec, task) if spec.error else self._good(task, pick))
        takes_ms = min(takes_ms, task.timeout_ms)
        result = Result(
            task_id=task.task_id,
            job_id=task.job_id,
            attempt=task.attempt,
            pool=task.pool,
            endpoint=self._pools[task.pool].endpoint,
            worker="test",
            call_ms=takes_ms,
            **fields,
        )
        # Checked when the file was read: see `checks`.
        extra = {name: getattr(Result.model_validate({**_IDENTITY, **spec.result}), name) for name in spec.result}
        return Answered(result.model_copy(update=extra) if extra else result, takes_ms)

    def _takes_ms(self, spec: AnswerSpec, task: Task) -> int:
        if spec.takes_ms is not None:
            return spec.takes_ms
        if spec.error == ErrorKind.TIMEOUT:
            return task.timeout_ms
        longest = min(SLOWEST_MS, task.timeout_ms)
        return 1 + int(self._draws.draw(f"takes/{task.task_id}/{task.attempt}") * longest) if longest > 1 else longest

    @staticmethod
    def _late(task: Task) -> dict[str, Any]:
        message = f"no answer within {task.timeout_ms / 1_000:g} s"
        return {"failure": Failure(kind=ErrorKind.TIMEOUT, message=message), "unconfirmed": True}

    def _failed(self, spec: AnswerSpec, task: Task) -> dict[str, Any]:
        kind = ErrorKind(spec.error or "")
        failure = Failure(kind=kind, message=spec.message or "scripted failure", retry_after_ms=spec.retry_after_ms)
        fields: dict[str, Any] = {"failure": failure, "unconfirmed": kind in _UNKNOWN_BILL}
        if kind is ErrorKind.INTERRUPTED:
            fields["cause"] = "kill"
        if (usage := _usage(spec)) is not None:
            cost = cost_microusd(usage, self._pools[task.pool].price)
            fields |= {"usage": usage, "cost_microusd": cost, "unconfirmed": False}
        return fields

    def _good(self, task: Task, pick: Pick) -> dict[str, Any]:
        value, pool, uses = _value(task, pick), self._pools[task.pool], _uses(task, pick)
        if task.embed is not None:
            usage = _usage(pick.spec) or Usage(input_tokens=_tokens(prompt_of(task)))
            cost = cost_microusd(usage, pool.price)
            return {"output": _scores(task.embed, value), "usage": usage, "cost_microusd": cost}
        if task.call is None:  # No model's call: there is nothing to judge, and its output is JSON.
            return {"output": value, "truncated": pick.spec.truncated}
        text = "" if uses and "answer" not in pick.spec.model_fields_set else _as_text(value)
        truncated, usage = pick.spec.truncated, _usage(pick.spec) or _counted(prompt_of(task), text, uses)
        output, failure, wrong_answer = judge_answer(task.call, text, uses, SCHEMAS, truncated=truncated, refused=False)
        return {
            "failure": failure,
            "output": output,
            "wrong_answer": wrong_answer,
            "truncated": truncated,
            "finish_reason": "length" if truncated else "stop",
            "usage": usage,
            "cost_microusd": cost_microusd(usage, pool.price),
            # As workers do: an answer without its count of tokens was paid, and nobody knows how much.
            "unconfirmed": pool.price.is_charged and not (usage.input_tokens or usage.output_tokens),
            "model": pool.model or task.pool,
        }


_WORD = re.compile(r"\{(last|index|attempt|[0-9]{1,2})\}")
_IDENTITY = {"task_id": "", "job_id": "", "attempt": 0}


def _usage(spec: AnswerSpec) -> Usage | None:
    return None if spec.usage is None else Usage(**spec.usage.model_dump())


def _counted(prompt: str, text: str, uses: Sequence[ToolUse]) -> Usage:
    written = sum((len(use.name) + len(use.arguments) for use in uses), len(text))
    return Usage(input_tokens=_tokens(prompt), output_tokens=written // TOKEN_CHARS + 1)


def _tokens(text: str) -> int:
    return len(text) // TOKEN_CHARS + 1


def _scores(call: EmbedCall, nearest: Any) -> Any:
    """Return what a comparison says where a branch is nearest by far; where none is named, none is near."""
    return {"scores": [{each.route: float(each.route == nearest) for each in call.examples}]}


def _uses(task: Task, pick: Pick) -> list[ToolUse]:
    """Return the calls of tools that the answer asks for; none where the call may ask for none."""
    if task.call is None or not task.call.tools or task.call.tool_choice == "none":
        return []
    return [
        ToolUse(
            name=use.name, arguments=_as_text(map_texts(use.arguments, lambda text: _filled(text, task, pick.groups)))
        )
        for use in pick.spec.tool_calls
    ]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(task: Task, pick: Pick) -> Any:
    """Return what is answered: what the script says, else a value of the schema, else what was asked."""
    if "answer" in pick.spec.model_fields_set:
        answer = pick.spec.answer
        return _filled(answer, task, pick.groups) if isinstance(answer, str) else answer
    if task.call is None:
        return other_call(task)
    if (schema := schema_of(task)) is not None:
        return json_for(schema, Random(task.task_id))  # Of the task and not of the seed: the same in every order.
    return last_of(task)


def _filled(text: str, task: Task, groups: tuple[str | None, ...]) -> str:
    def word(found: re.Match[str]) -> str:
        match found[1]:
            case "last":
                return last_of(task)
            case "index":
                return str(index_of(task))
            case "attempt":
                return str(task.attempt)
            case number:
                at = int(number)
                return (groups[at - 1] or "") if 1 <= at <= len(groups) else found[0]

    return _WORD.sub(word, text)

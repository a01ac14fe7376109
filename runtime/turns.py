"""What one turn of a model that may ask for tools is worth: its answer, or the calls that it asks for. Pure.

The output of such a call is a turn: ``{"content": …, "tool_calls": [{"name", "arguments"}, …]}``. Without calls, the
content is the answer, held to the step's schema; beside calls it is a text, which may be empty. Whether the calls hold
is the orchestrator's to say, which tells the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.runtime.output import Judgement, OutputSchemas, judge
from headrace.schemas.calls import MAX_TOOL_USES
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, LlmCall, ToolUse


def judge_answer(
    call: LlmCall, text: str, uses: Sequence[ToolUse], schemas: OutputSchemas, *, truncated: bool, refused: bool
) -> Judgement:
    """Judge a model's answer as `judge` does, for calls that offer tools too.

    Args:
        call: what was asked.
        uses: the calls of tools that the answer asks for.
    """
    if not call.tools or not uses or refused:
        found = judge(text, call.output_schema, schemas, truncated=truncated, refused=refused)
        return found._replace(output=turn(found.output)) if call.tools and found.failure is None else found
    if len(uses) > MAX_TOOL_USES:
        message = f"the model asked for {len(uses)} calls of tools at once; at most {MAX_TOOL_USES} are read"
        return Judgement(None, Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message))
    return Judgement(turn(text, uses))


def turn(content: Any, uses: Sequence[ToolUse] = ()) -> dict[str, Any]:
    """Return a turn as it travels."""
    return {"content": content, "tool_calls": [{"name": use.name, "arguments": use.arguments} for use in uses]}

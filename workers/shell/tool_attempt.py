"""One attempt at a tool: the order is that of `attempt.py`, the call is one of a tool in place of a model's.

A tool that may have done something and does not say what became of it ends `unconfirmed`, and costs nothing that is
known. What is refused before the tool is asked (an unknown tool, arguments that do not hold, a confidential payload for
a public tool) never is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.messages import Result, Sensitivity, Task, ToolCall
from headrace.schemas.tools import ToolSpec
from headrace.workers.core.arguments import ArgumentSchema, ArgumentsInvalid
from headrace.workers.shell.attempt import AttemptRunner, NoModel, since_ms
from headrace.workers.shell.workplace import Workplace
from headrace.workers.tools.base import Tool, ToolAnswer, key_of

log = structlog.get_logger("headrace.tools")

KEPT_S = 1.0
"""Of its time, so much, a tenth at most, is kept from a tool: it knows better than its caller what a timeout means."""


@dataclass(frozen=True, slots=True)
class OpenTool:
    """A tool of the pool, ready to be called."""

    spec: ToolSpec
    schema: ArgumentSchema
    tool: Tool

    @classmethod
    def of(cls, spec: ToolSpec, tool: Tool) -> OpenTool:
        """Compile the schema of its arguments."""
        return cls(spec, ArgumentSchema(spec.arguments), tool)


class _Checked(NamedTuple):
    """A call that may be made, and the tool that makes it."""

    call: ToolCall
    one: OpenTool


class ToolRunner(AttemptRunner):
    """Runs the attempts of a pool of tools.

    Args:
        tools: by name.
        place: where it works.
    """

    def __init__(self, tools: Mapping[str, OpenTool], place: Workplace) -> None:
        super().__init__(NoModel("a pool of tools calls no model"), place)
        self._tools = tools
        self.notes_first = any(one.spec.side_effect or one.spec.price_microusd for one in tools.values())

    async def start(self) -> None:
        """Make every tool ready, one after the other.

        Raises:
            ConfigError: one can never work as it is set up.
        """
        for name, one in self._tools.items():
            began = time.monotonic()
            await one.tool.start()
            log.info("tool.ready", tool=name, kind=one.spec.kind, took_ms=since_ms(began))

    async def close(self) -> None:
        """Close every tool, one that did not start included."""
        await asyncio.gather(*(one.tool.close() for one in self._tools.values()), return_exceptions=True)

    async def _call_of(self, task: Task) -> _Checked:
        """Return a call that may be made.

        Raises:
            AdapterError: it may not be; nothing was done.
            HeadraceError: it is not to be had.
        """
        if task.call is not None:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"a model call in a pool of tools; {self._known()}")
        call = task.tool if task.tool is not None else await self._payloads.fetch(task, ToolCall)
        one = self._tools.get(call.tool)
        if one is None:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"unknown tool {call.tool[:80]!r}; {self._known()}")
        if one.spec.public and task.sensitivity is Sensitivity.CONFIDENTIAL:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the job is confidential, and tool {call.tool!r} is public")
        try:
            one.schema.check(call.arguments)
        except ArgumentsInvalid as invalid:
            raise AdapterError(ErrorKind.BAD_REQUEST, str(invalid)) from None
        return _Checked(call, one)

    async def _call(self, task: Task, call: _Checked) -> Result:
        started = time.monotonic()
        (name, arguments), spec = (call.call.tool, call.call.arguments), call.one.spec
        timeout_s = task.timeout_ms / 1_000
        matters = spec.side_effect or spec.price_microusd > 0
        endpoint = name
        try:
            async with asyncio.timeout(timeout_s):
                answer = await call.one.tool.call(
                    arguments,
                    timeout_s=timeout_s - min(KEPT_S, timeout_s / 10),
                    idempotency_key=key_of(task, spec),
                )
            endpoint = f"{name}.{answer.provider}" if answer.provider else name
            _check_answer(answer, spec)
            result = self._result(
                task, output=answer.output, cost_microusd=spec.price_microusd, call_ms=since_ms(started)
            )
        except TimeoutError:
            message = f"no answer within {timeout_s:g} s"
            result = self.failed(task, ErrorKind.TIMEOUT, message, unconfirmed=matters, call_ms=since_ms(started))
        except AdapterError as error:
            result = self.failed(
                task,
                error.kind,
                error.message,
                retry_after_ms=error.retry_after_ms,
                unconfirmed=error.unconfirmed and matters,
                call_ms=since_ms(started),
            )
        except Exception as error:
            result = self._unexpected(task, error, unconfirmed=matters)
        return result.model_copy(update={"endpoint": endpoint})

    def _known(self) -> str:
        return f"this pool's tools: {', '.join(self._tools) or 'none'}"


def _check_answer(answer: ToolAnswer, spec: ToolSpec) -> None:
    """Check that an answer can travel.

    Raises:
        AdapterError: it is no JSON, or too long. The call was done.
    """
    try:
        size = len(json.dumps(answer.output, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        message = f"the tool's answer is no JSON: {str(error)[:200] or type(error).__name__}"
        raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True) from None
    if size > spec.max_answer_bytes:
        message = f"the answer has {size:,} bytes; max_answer_bytes is {spec.max_answer_bytes:,}"
        raise AdapterError(ErrorKind.TOO_LARGE, message, unconfirmed=True)

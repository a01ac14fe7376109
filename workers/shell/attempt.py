"""One attempt: exactly one provider call, or a reason why there was none. Always one `Result`, whatever happens.

The order:
    1. refuse without a call: job cancelled, `not_after_ms` passed
    2. fetch the call where it travelled as a claim check
    3. begin: the journal gets its ``started``; where that took time, refuse as in 1
    4. make the one call, bounded by `timeout_ms`
    5. judge the answer: truncated, malformed, or good
    6. price it, and put a large output into the object store
(The journal gets its ``ended`` together with the result: `pool.py`, `journal.py`.)

From 4 on an ending that does not tell the provider's bill is `unconfirmed`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import structlog

from headrace.runtime.output import OutputSchemas
from headrace.runtime.turns import judge_answer
from headrace.schemas.base import trusted
from headrace.schemas.calls import MAX_COUNT
from headrace.schemas.codec import decode
from headrace.schemas.cost import cost_microusd
from headrace.schemas.errors import AdapterError, ErrorKind, HeadraceError
from headrace.schemas.messages import Failure, LlmCall, Result, Sensitivity, Task
from headrace.workers.adapters.base import Adapter, Completion, ImmediateAdapter
from headrace.workers.core.journal import Entry
from headrace.workers.core.result_text import result_text
from headrace.workers.shell.payloads import Payloads, failure_of
from headrace.workers.shell.workplace import Workplace

log = structlog.get_logger("headrace.attempt")

JOURNALLED_BYTES = 16_384
"""What an answer has beside its output, at most: names, a failure, the mark `journalled`."""

Begin = Callable[[], Awaitable[None]]
"""Writes down that the call begins; may raise what `AttemptRunner.run` lets through."""


class Ended(NamedTuple):
    """What became of an attempt, ready to be sent."""

    result: Result
    value: bytes
    """The result as it travels."""
    called: bool
    """Whether the provider was asked."""


class AttemptRunner:
    """Runs the attempts of one pool.

    Args:
        adapter: makes the calls.
        place: where it works.
    """

    def __init__(self, adapter: Adapter, place: Workplace) -> None:
        pool = place.pool
        self._public = place.public
        # Looked at once: isinstance of a protocol costs more than a whole echo.
        self._immediate = adapter if isinstance(adapter, ImmediateAdapter) and adapter.immediate else None
        self.immediate = self._immediate is not None
        self._pool_name = place.pool_name
        self._pool = pool
        self._adapter = adapter
        self._worker = place.worker
        self._is_cancelled, self._is_called_off = place.is_cancelled, place.is_called_off
        self._payloads = Payloads(place.objects)
        self._inline_bytes = place.inline_bytes
        self._schemas = OutputSchemas()
        self._charged = pool.price.is_charged
        self.priced = pool.price.input > 0 or pool.price.output > 0
        self.notes_first = self.priced
        """Whether no call begins before its start is in the journal: a lost one would be made twice."""

    async def start(self) -> None:
        """Make ready what calls need; an adapter needs nothing."""

    async def close(self) -> None:
        """Release connections."""
        await self._adapter.close()

    def run_now(self, task: Task) -> Ended | None:
        """Answer at once where nothing has to be waited for; None: `run` is needed."""
        if refused := self._refusal(task):
            return self._ended(refused, called=False)
        if task.call is None or self._immediate is None:
            return None
        try:
            completion = self._immediate.complete(task.call, model=self._pool.model)
            ended = self._ended(self._judge(task, task.call, completion, 0), called=True)
        except AdapterError as error:
            return self._ended(self.failed(task, error.kind, error.message, unconfirmed=error.unconfirmed), called=True)
        except Exception as error:
            return self._ended(self._unexpected(task, error), called=True)
        return ended if len(ended.value) <= self._inline_bytes else None

    async def run(self, task: Task, begin: Begin) -> Ended:
        """Make the attempt. Cancelled from outside, it raises CancelledError and sends nothing.

        Args:
            begin: awaited just before the call; what it raises goes through, and no call is made.
        """
        if refused := self._refusal(task):
            return self._ended(refused, called=False)
        try:
            call = await self._call_of(task)
        except HeadraceError as error:
            return self._ended(self._result(task, failure=failure_of(error, "the call")), called=False)
        except Exception as error:
            return self._ended(self._unexpected(task, error, unconfirmed=False), called=False)
        await begin()
        if refused := self._refusal(task):
            return self._ended(refused, called=False)
        result = await self._call(task, call)
        ended = self._ended(result, called=True)
        if len(ended.value) <= self._inline_bytes:
            return ended
        return self._ended(await self._by_reference(result), called=True)

    def failed(
        self, task: Task, kind: ErrorKind, message: str, *, retry_after_ms: int | None = None, **fields: Any
    ) -> Result:
        """Return a failed result of this task."""
        failure = Failure(kind=kind, message=message, retry_after_ms=retry_after_ms)
        return self._result(task, failure=failure, **fields)

    def interrupted(self, task: Task, message: str, *, cause: Literal["kill", "stop"], begun: bool) -> Ended:
        """Return the ending of an attempt whose worker died or stops.

        Args:
            begun: whether the call was, so that its bill is not known.
        """
        result = self.failed(task, ErrorKind.INTERRUPTED, message, cause=cause, unconfirmed=begun)
        return self._ended(result, called=begun)

    def cancelled(self, task: Task, *, begun: bool) -> Ended:
        """Return the ending of an attempt whose job was cancelled.

        Args:
            begun: whether its call was, so that its bill is not known.
        """
        message = f"the job was cancelled {'during' if begun else 'before'} the call"
        return self._ended(self.failed(task, ErrorKind.CANCELLED, message, unconfirmed=begun), called=begun)

    def crashed(self, task: Task, error: BaseException, *, begun: bool) -> Ended:
        """Return the ending of an attempt that raised what it never should."""
        return self._ended(self._unexpected(task, error, unconfirmed=begun), called=begun)

    def recalled(self, task: Task, noted: Entry) -> Ended:
        """Return the ending that the journal has for a task that was delivered before."""
        if noted.result is not None:
            ended = self._ended(noted.result.model_copy(update={"journalled": True}), called=False)
            # No worker wrote a longer one: what Kafka does not take again would end one worker after the other.
            if len(ended.value) <= self._inline_bytes + JOURNALLED_BYTES:
                return ended
        return self.interrupted(task, "the worker died or lost the task during the call", cause="kill", begun=True)

    def _refusal(self, task: Task) -> Result | None:
        if self._is_cancelled(task.job_id):
            return self.failed(task, ErrorKind.CANCELLED, "the job was cancelled before the call")
        if self._is_called_off(task.task_id):
            return self.failed(task, ErrorKind.CANCELLED, "its step had ended before the call")
        if self._public and task.sensitivity is Sensitivity.CONFIDENTIAL:
            return self.failed(task, ErrorKind.BAD_REQUEST, "the job is confidential, and this pool is public")
        if task.not_after_ms is not None and time.time() * 1_000 > task.not_after_ms:
            message = "the last moment for the call to start had passed"
            return self.failed(task, ErrorKind.DEADLINE_EXCEEDED, message)
        return None

    async def _call_of(self, task: Task) -> Any:
        """Return what `_call` makes a call of; what it raises answers the task without one."""
        return task.call if task.call is not None else await self._payloads.fetch(task, LlmCall)

    async def _call(self, task: Task, call: Any) -> Result:
        started = time.monotonic()
        timeout_s = task.timeout_ms / 1_000
        key = f"{task.task_id}:{task.attempt}"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(task, call, timeout_s=timeout_s, key=key, started=started)
        except TimeoutError:
            message = f"no answer within {timeout_s:g} s"
            return self.failed(task, ErrorKind.TIMEOUT, message, unconfirmed=True, call_ms=since_ms(started))
        except AdapterError as error:
            return self.failed(
                task,
                error.kind,
                error.message,
                retry_after_ms=error.retry_after_ms,
                unconfirmed=error.unconfirmed,
                call_ms=since_ms(started),
            )
        except Exception as error:
            return self._unexpected(task, error)

    async def _answer(self, task: Task, call: Any, *, timeout_s: float, key: str, started: float) -> Result:
        """Make the one provider call and judge what it brought."""
        completion = await self._adapter.call(call, model=self._pool.model, timeout_s=timeout_s, idempotency_key=key)
        return self._judge(task, call, completion, since_ms(started))

    def _judge(self, task: Task, call: LlmCall, completion: Completion, call_ms: int) -> Result:
        """Decide what the answer is worth. It was paid for in any case, so usage and cost are always on the result."""
        truncated = completion.finish_reason == "length"
        output, failure, wrong_answer = judge_answer(
            call,
            completion.text,
            completion.tool_calls,
            self._schemas,
            truncated=truncated,
            refused=completion.refused,
        )
        usage = completion.usage
        cost = cost_microusd(usage, self._pool.price) if self._charged else 0
        # An answer without its count of tokens was paid, and nobody knows how much.
        unconfirmed = self.priced and not (usage.input_tokens or usage.output_tokens)
        # All of it was checked where it was read; only the money may be more than anyone would read.
        make = trusted if cost <= MAX_COUNT else _checked
        return make(
            Result,
            task_id=task.task_id,
            job_id=task.job_id,
            attempt=task.attempt,
            failure=failure,
            output=output,
            wrong_answer=wrong_answer,
            truncated=truncated,
            finish_reason=completion.finish_reason,
            usage=usage,
            cost_microusd=cost,
            model=completion.model,
            confidence=completion.confidence if call.logprobs else None,
            endpoint=self._pool.endpoint,
            pool=self._pool_name,
            worker=self._worker,
            call_ms=call_ms,
            unconfirmed=unconfirmed,
        )

    async def _by_reference(self, result: Result) -> Result:
        try:
            ref = await self._payloads.store(result.output)
        except Exception as error:
            failure = failure_of(error, "the answer is too large to travel inline")
            log.error("output.not_stored", task_id=result.task_id, reason=failure.message)
            return result.model_copy(update={"output": None, "failure": failure})
        return result.model_copy(update={"output": None, "output_ref": ref})

    def _unexpected(self, task: Task, error: BaseException, *, unconfirmed: bool = True) -> Result:
        log.error("attempt.crashed", task_id=task.task_id, attempt=task.attempt, exc_info=error)
        message = f"unexpected {type(error).__name__} in the worker; see its log"
        return self.failed(task, ErrorKind.INTERNAL, message, unconfirmed=unconfirmed)

    def _result(self, task: Task, **fields: Any) -> Result:
        return Result(
            task_id=task.task_id,
            job_id=task.job_id,
            attempt=task.attempt,
            endpoint=self._pool.endpoint,
            pool=self._pool_name,
            worker=self._worker,
            **fields,
        )

    @staticmethod
    def _ended(result: Result, *, called: bool) -> Ended:
        try:
            return Ended(result, result_text(result), called)
        except Exception as error:  # For example a lone surrogate in a provider's text.
            message = f"the answer cannot be written as JSON: {type(error).__name__}"
            failure = Failure(kind=ErrorKind.SERVER_ERROR, message=message)
            nothing = dict.fromkeys(("wrong_answer", "model", "finish_reason"), "")
            result = result.model_copy(update={"output": None, "failure": failure, **nothing})
            return Ended(result, result_text(result), called)


def _checked(model: type[Result], /, **values: Any) -> Result:
    return model(**values)


class NoModel:
    """Stands where the runner of calls that are none of a model has its adapter.

    Args:
        message: why there is none.
    """

    def __init__(self, message: str) -> None:
        self._message = message

    async def call(self, request: LlmCall, *, model: str, timeout_s: float, idempotency_key: str) -> Completion:
        del request, model, timeout_s, idempotency_key
        raise AdapterError(ErrorKind.BAD_REQUEST, self._message)

    async def close(self) -> None:
        """Nothing is held."""


def read_task(value: bytes | None, headers: dict[str, str]) -> Task:
    """Decode a task; see `schemas.codec.decode` for what it raises."""
    return decode(Task, value, headers)


def since_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1_000)

"""The object store as attempts use it: off the event loop, and with patience.

An attempt that fails for a store that is away for a moment costs one of the task's few attempts, and a paid answer with
it. So reads and writes are tried again for a while; after it the attempt is answered `network`, which is tried again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from headrace.runtime.objects import ObjectStore
from headrace.schemas.errors import AdapterError, ContractError, DependencyUnavailable, ErrorKind, HeadraceError
from headrace.schemas.messages import Failure, Message, ObjectRef, Task

log = structlog.get_logger("headrace.attempt")

T = TypeVar("T")
C = TypeVar("C", bound=Message)

PATIENCE_S = 30.0
"""How long a store may be away before the attempt is answered without it."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.2, 5.0


class Payloads:
    """Calls that come, and answers that go, by reference.

    Args:
        objects: opens the object store when it is first needed.
        patience_s: how long a store that does not answer is asked again.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        objects: Callable[[], ObjectStore],
        *,
        patience_s: float = PATIENCE_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._patience_s = patience_s
        self._pause = pause

    async def fetch(self, task: Task, model: type[C]) -> C:
        """Return the call of a task that travelled as a claim check.

        Args:
            model: what the pool makes calls of.

        Raises:
            ContractError: it is gone, or no call (a bare `HeadraceError`: the task names none).
            DependencyUnavailable: the store did not answer for all of the patience.
            ConfigError: there is no store to ask.
            AdapterError: the call is one of a tool, which this pool has none of.
        """
        ref = task.call_ref
        if ref is None:
            if task.tool is not None:
                raise AdapterError(ErrorKind.BAD_REQUEST, "a tool's call in a pool of models")
            raise HeadraceError("the task has neither a call nor a reference to one")
        content = await self.read(ref)
        try:
            return model.model_validate_json(content)
        except ValueError:
            raise ContractError(f"object {ref.key} is no call") from None

    async def read(self, ref: ObjectRef) -> bytes:
        """Return an object; it raises what `fetch` raises."""
        return await self._patiently(lambda: self._objects().get(ref))

    async def store(self, output: Any) -> ObjectRef:
        """Store an answer's JSON and return its claim check.

        Raises:
            ContractError: it is larger than any reader would read.
            DependencyUnavailable: the store did not answer for all of the patience.
            ConfigError: there is no store.
        """

        def put() -> ObjectRef:
            return self._objects().put(json.dumps(output, ensure_ascii=False, separators=(",", ":")).encode())

        return await self._patiently(put)

    async def _patiently(self, act: Callable[[], T]) -> T:
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return await asyncio.to_thread(act)
            except DependencyUnavailable as error:
                if time.monotonic() - began + pause_s > self._patience_s:
                    raise
                log.warning("objects.failing", error=error.message, again_in_s=round(pause_s, 1))
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, MOST_PAUSE_S)


def failure_of(error: Exception, what: str) -> Failure:
    """Return the failure of an attempt whose payload cannot be had or kept.

    A store that does not answer may answer later; an object that is gone or another will not come back.
    """
    if isinstance(error, AdapterError):
        return Failure(kind=error.kind, message=error.message)
    if isinstance(error, DependencyUnavailable):
        return Failure(kind=ErrorKind.NETWORK, message=f"{what}: {error.message}")
    if isinstance(error, ContractError):
        kind = ErrorKind.TOO_LARGE if error.kind == "too_large" else ErrorKind.PAYLOAD_LOST
        return Failure(kind=kind, message=f"{what}: {error.message}" + (f": {error.hint}" if error.hint else ""))
    reason = error.message if isinstance(error, HeadraceError) else type(error).__name__
    return Failure(kind=ErrorKind.INTERNAL, message=f"{what}: {reason}")

"""One call of a Python function of the user's, in a thread of its own; an async one on a loop of its own.

Neither can hold up the worker: what hangs is answered `timeout`, and its thread is left behind (`Threads` bounds how
many). A function that has a parameter ``idempotency_key`` gets the key.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import PythonTool as PythonSpec
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.threads import Threads

GROUP = "headrace.tools"
"""The group of entry points under which packages offer functions."""
KEY = "idempotency_key"
MAX_SAID = 200


class PythonTool:
    """A tool of the kind `python`."""

    def __init__(self, config: ToolConfig) -> None:
        spec = cast(PythonSpec, config.spec)
        self._function = load_function(spec.function, config.name)
        self._takes_key = _takes_key(self._function)
        self._most = 2 * config.concurrency
        self._threads = Threads(f"tool-{config.name}", most=self._most)
        self._loop = _Loop(f"tool-{config.name}") if inspect.iscoroutinefunction(self._function) else None

    async def start(self) -> None:
        """Nothing is to be made ready."""

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        if self._takes_key or KEY in arguments:
            # Never from the arguments: who writes those must not choose the key.
            arguments = {name: value for name, value in arguments.items() if name != KEY}
            arguments |= {KEY: idempotency_key} if self._takes_key else {}
        try:
            async with asyncio.timeout(timeout_s):
                return ToolAnswer(await self._run(arguments))
        except AdapterError:
            raise
        except TimeoutError:
            message = f"the function did not return within {timeout_s:.3g} s"
            raise AdapterError(ErrorKind.TIMEOUT, message, unconfirmed=True) from None
        except Exception as error:
            said = " ".join(str(error).split())[:MAX_SAID]
            message = f"the function raised {type(error).__name__}" + (f": {said}" if said else "")
            raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True) from None

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.stop()

    async def _run(self, arguments: dict[str, Any]) -> Any:
        if self._loop is not None:
            return await self._loop.run(self._function(**arguments))
        return await self._threads.run(lambda: self._function(**arguments))


class _Loop:
    """An event loop in a thread: a function that blocks in it holds up its own kind only."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    async def run(self, coroutine: Any) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


def load_function(named: str, tool: str) -> Callable[..., Any]:
    """Return the function that a tool names.

    Raises:
        ConfigError: its module cannot be imported, or has no such function.
    """
    try:
        if ":" in named:
            module, _, path = named.partition(":")
            found: Any = import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        else:
            offers = entry_points(group=GROUP)
            if named not in offers.names:
                known = ", ".join(sorted(offers.names)) or "none is installed"
                message = f"tool {tool!r}: no entry point {named!r} in {GROUP} ({known})"
                raise ConfigError(message, "write module:function, or install the package that offers it")
            found = offers[named].load()
    except ConfigError:
        raise
    except Exception as error:
        message = f"tool {tool!r}: function {named!r} cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigError(message, "its module must be installed, or lie in PYTHONPATH") from None
    if not callable(found):
        raise ConfigError(f"tool {tool!r}: {named!r} is no function")
    return cast(Callable[..., Any], found)


def _takes_key(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # Some of those written in C have none.
        return False
    return KEY in parameters

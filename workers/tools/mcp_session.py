"""A session with one MCP server: opened when it is first needed, shared by the tools of that server, opened anew after
it broke.

The SDK's client belongs to the task that entered it, so each session has a task of its own; calls come from others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import McpServer
from headrace.workers.http import client_for_mcp
from headrace.workers.tools.base import ToolConfig

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Tool as RemoteTool

log = structlog.get_logger("headrace.tools")

CONNECT_S = 30.0
"""A server that is started as a command may load a model first."""
CLOSE_S = 6.0
"""The SDK gives a command two seconds to end, and two more after SIGTERM."""
MAX_PAGES = 100
"""Of the server's list of tools."""
MAX_EVENT_BYTES = 16_777_216

_shared: dict[tuple[int, str], McpSession] = {}
"""Sessions by event loop and server."""


class McpSession:
    """One server.

    Args:
        make: makes a client that connects as it is entered.
        place: the server, in messages.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Client]], place: str) -> None:
        self._make = make
        self.place = place
        self.users = 0
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._client: Client | None = None
        self._tools: dict[str, RemoteTool] = {}

    async def connected(self) -> tuple[Client, dict[str, RemoteTool]]:
        """Return the client, and the server's tools by name.

        Raises:
            AdapterError: ``network``: the server cannot be reached; nothing was sent.
            ConfigError: its command cannot be started.
        """
        async with self._lock:
            if self._client is None:
                await self._open()
            assert self._client is not None
            return self._client, self._tools

    @property
    def current(self) -> Client | None:
        """The client, where one is connected."""
        return self._client

    async def drop(self, client: Client) -> None:
        """Close the session if this is still its client: the next call opens another."""
        async with self._lock:
            if self._client is client:
                self._let_go()

    async def close(self) -> None:
        """Close the session, and wait until the SDK has ended the server's process."""
        async with self._lock:
            self._let_go()
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_S)

    async def _open(self) -> None:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._serve(ready, self._stop))
        try:
            async with asyncio.timeout(CONNECT_S):
                client = await asyncio.shield(ready)
                self._tools = await _list_tools(client)
        except BaseException as error:
            if not ready.done():
                ready.cancel()
                self._task.cancel()  # It does not look at `stop` before the server has answered.
            self._let_go()
            if isinstance(error, Exception):
                raise self._unreachable(error) from None
            raise
        self._client = client
        log.info("mcp.connected", server=self.place, tools=len(self._tools), protocol=client.protocol_version)

    async def _serve(self, ready: asyncio.Future[Client], stop: asyncio.Event) -> None:
        try:
            async with self._make() as client:
                if not ready.done():
                    ready.set_result(client)
                await stop.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
                return
            if isinstance(error, Exception):
                log.info("mcp.closed", server=self.place, error=said_of(error))
                return
            raise

    def _let_go(self) -> None:
        """Tell the session's task to end. Nobody waits here: cancelled twice, the SDK would leave a process behind."""
        self._client, self._tools = None, {}
        self._stop.set()
        task, self._task = self._task, None
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _unreachable(self, error: BaseException) -> Exception:
        if isinstance(error, FileNotFoundError | PermissionError):
            return ConfigError(f"MCP server {self.place}: {error.strerror}: {error.filename}")
        reason = "no answer in time" if isinstance(error, TimeoutError) else said_of(error)
        return AdapterError(ErrorKind.NETWORK, f"MCP server {self.place} cannot be reached: {reason}")


def shared_session(server: McpServer, config: ToolConfig) -> McpSession:
    """Return the session of a server, which is given back with `release`; tools of one server share it.

    Raises:
        ConfigError: a secret, or the extra ``mcp``, is missing.
    """
    key = (id(asyncio.get_running_loop()), server.model_dump_json())
    session = _shared.get(key)
    if session is None:
        session = _shared[key] = McpSession(_maker(server, config), _place(server))
    session.users += 1
    return session


async def release(session: McpSession) -> None:
    """Close a session that nobody uses any more."""
    session.users -= 1
    if session.users == 0:
        for key in [key for key, known in _shared.items() if known is session]:
            del _shared[key]
        await session.close()


def _maker(server: McpServer, config: ToolConfig) -> Callable[[], AbstractAsyncContextManager[Client]]:
    try:
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
    except ImportError:
        raise ConfigError(f"tool {config.name!r} needs the extra mcp", "pip install 'headrace[mcp]'") from None
    if server.url is None:
        secrets = {name: config.secret(name).get_secret_value() for name in server.env_from}
        command, *args = server.command
        parameters = StdioServerParameters(command=command, args=args, env={**server.env, **secrets})
        return lambda: Client(parameters)
    headers = dict(server.headers)
    for header, named in server.headers_env.items():
        word, _, variable = named.rpartition(" ")
        value = config.secret(variable).get_secret_value()
        headers[header] = f"{word} {value}" if word else value
    url = server.url

    @asynccontextmanager
    async def over_http() -> AsyncIterator[Client]:
        async with client_for_mcp(headers, timeout_s=CONNECT_S) as http:
            transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES)
            async with Client(transport) as client:
                yield client

    return over_http


async def _list_tools(client: Client) -> dict[str, RemoteTool]:
    found: dict[str, RemoteTool] = {}
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found.update((tool.name, tool) for tool in page.tools)
        if (cursor := page.next_cursor) is None:
            break
    return found


def _place(server: McpServer) -> str:
    return server.url.partition("?")[0] if server.url is not None else server.command[0]


def said_of(error: BaseException) -> str:
    """Return an error's text; of a group, that of its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said: Any = getattr(error, "message", None) or str(error)
    return " ".join(str(said).split())[:300] or type(error).__name__

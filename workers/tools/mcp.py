"""One tool of an MCP server, over the official SDK. The server's other tools cannot be reached through it.

Nothing that a server says of its tools widens what it may do: its schema is one more check of the arguments, and its
hints only narrow.
"""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import structlog

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import McpTool as McpSpec
from headrace.workers.core.arguments import ArgumentSchema, ArgumentsInvalid
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.mcp_session import McpSession, release, said_of, shared_session

if TYPE_CHECKING:
    from mcp.types import CallToolResult
    from mcp.types import Tool as RemoteTool

log = structlog.get_logger("headrace.tools")

KEY_META = "idempotency-key"
"""Under which name the key stands in a call's ``_meta``."""
REFUSALS = {-32601, -32602}
"""Method not found, invalid parameters: nothing was done."""
REQUEST_TIMEOUT = -32001


class McpTool:
    """A tool of the kind `mcp`."""

    def __init__(self, config: ToolConfig) -> None:
        self._config = config
        self._spec = cast(McpSpec, config.spec)
        self._remote = self._spec.remote or config.name
        self._session: McpSession | None = None
        self._checked: tuple[RemoteTool, ArgumentSchema] | None = None

    async def start(self) -> None:
        """Connect, and look whether the server has the tool. One that is away is asked again at the first call.

        Raises:
            ConfigError: it has no such tool, or its command, a secret or the extra is missing.
        """
        self._session = shared_session(self._spec.server, self._config)
        try:
            _, tools = await self._session.connected()
            self._schema_of(tools)
        except AdapterError as error:
            if error.kind is not ErrorKind.NETWORK:
                raise ConfigError(f"tool {self._config.name!r}: {error.message}") from None
            log.warning("mcp.unreachable", tool=self._config.name, error=error.message)

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        assert self._session is not None, "started"
        sent = False
        try:
            async with asyncio.timeout(timeout_s):
                client, tools = await self._session.connected()
                self._check(arguments, self._schema_of(tools))
                sent = True
                meta: Any = {KEY_META: idempotency_key} if self._spec.side_effect else None
                result = await client.call_tool(self._remote, arguments, read_timeout_seconds=timeout_s, meta=meta)
        except ConfigError as error:
            raise AdapterError(ErrorKind.NETWORK, error.message) from None
        except AdapterError:
            raise
        except TimeoutError:
            message = f"MCP server {self._session.place} did not answer within {timeout_s:.3g} s"
            raise AdapterError(ErrorKind.TIMEOUT, message, unconfirmed=sent) from None
        except Exception as error:
            raise await self._failed(error, self._session, sent) from None
        return ToolAnswer(_output(result))

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await release(session)

    def _schema_of(self, tools: dict[str, RemoteTool]) -> ArgumentSchema:
        """Return the server's own schema of the arguments.

        Raises:
            AdapterError: there is no such tool, its schema is none, or it changes what this one says it does not.
        """
        found = tools.get(self._remote)
        if found is None:
            near = get_close_matches(self._remote, list(tools), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(list(tools)[:20]) or 'none'}"
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the MCP server has no tool {self._remote!r} ({hint})")
        if self._checked is not None and self._checked[0] is found:
            return self._checked[1]
        hints = found.annotations
        if not self._spec.side_effect and hints is not None and hints.destructive_hint and not hints.read_only_hint:
            message = f"the MCP server says that {self._remote!r} destroys something: say side_effect: true"
            raise AdapterError(ErrorKind.BAD_REQUEST, message)
        try:
            schema = ArgumentSchema(found.input_schema)
        except ArgumentsInvalid as invalid:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"the MCP server's tool {self._remote!r}: {invalid}") from None
        self._checked = (found, schema)
        return schema

    @staticmethod
    def _check(arguments: dict[str, Any], schema: ArgumentSchema) -> None:
        try:
            schema.check(arguments)
        except ArgumentsInvalid as invalid:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"by the MCP server's schema, {invalid}") from None

    async def _failed(self, error: Exception, session: McpSession, sent: bool) -> AdapterError:
        """Return what an error of the SDK means; where the session is broken, let go of it."""
        from mcp import MCPError

        if isinstance(error, MCPError):
            if error.code in REFUSALS:
                return AdapterError(ErrorKind.BAD_REQUEST, f"the MCP server refused: {said_of(error)}")
            if error.code == REQUEST_TIMEOUT:
                return AdapterError(ErrorKind.TIMEOUT, f"MCP server {session.place} did not answer", unconfirmed=sent)
        if (client := session.current) is not None:
            await session.drop(client)
        return AdapterError(ErrorKind.NETWORK, f"MCP server {session.place}: {said_of(error)}", unconfirmed=sent)


def _output(result: CallToolResult) -> Any:
    """Return the answer: structured where it is, else the text, or all blocks where there are others.

    Raises:
        AdapterError: the tool says that it failed.
    """
    texts = [block.text for block in result.content if block.type == "text"]
    if result.is_error:
        said = " ".join(" ".join(texts).split())[:300] or "no reason given"
        raise AdapterError(ErrorKind.SERVER_ERROR, f"the tool failed: {said}", unconfirmed=True)
    if result.structured_content is not None:
        return result.structured_content
    if len(texts) == len(result.content):
        return texts[0] if len(texts) == 1 else "\n".join(texts)
    return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]

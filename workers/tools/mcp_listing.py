"""``python -m headrace.workers.tools.mcp_listing URL | COMMAND [ARG…]``: an MCP server's tools, for a pools file.

The schemas are the server's. What it says of side effects is not taken over: that is for whoever runs it to decide.

Exit codes: 0 listed, 2 usage, or the command cannot be started, 3 the server cannot be reached.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog
import yaml
from pydantic import SecretStr

from headrace.schemas.errors import AdapterError, ConfigError
from headrace.schemas.tools import TOOL_PATTERN, McpServer, McpTool
from headrace.workers.tools.base import ToolConfig
from headrace.workers.tools.mcp_session import release, shared_session

if TYPE_CHECKING:
    from mcp.types import Tool as RemoteTool


def main(arguments: list[str] | None = None) -> int:
    """List the tools, and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if given else 2
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # Standard output is the listing's.
    is_url = given[0].startswith(("http://", "https://"))
    server = McpServer(url=given[0]) if is_url else McpServer(command=tuple(given))
    try:
        tools = asyncio.run(_tools(server))
    except (AdapterError, ConfigError) as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 3
    print(yaml.safe_dump(section(server, tools), sort_keys=False, allow_unicode=True, width=120), end="")
    return 0


def section(server: McpServer, tools: list[RemoteTool]) -> dict[str, Any]:
    """Return the section ``tools`` for these tools of a server."""
    where = {"url": server.url} if server.url is not None else {"command": list(server.command)}
    found: dict[str, Any] = {}
    for tool in tools:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", tool.name)[:64]
        if not re.fullmatch(TOOL_PATTERN, name):
            name = f"t_{name}"[:64]
        entry: dict[str, Any] = {"kind": "mcp", "server": dict(where)}
        if name != tool.name:
            entry["remote"] = tool.name
        found[name] = {**entry, "description": tool.description or "", "arguments": tool.input_schema}
    return {"tools": found}


async def _tools(server: McpServer) -> list[RemoteTool]:
    config = ToolConfig("listing", McpTool(kind="mcp", server=server), "", SecretStr)
    session = shared_session(server, config)
    try:
        _, tools = await session.connected()
        return list(tools.values())
    finally:
        await release(session)


if __name__ == "__main__":
    sys.exit(main())

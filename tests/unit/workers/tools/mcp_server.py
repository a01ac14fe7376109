"""A real MCP server: ``python mcp_server.py`` speaks over standard input and output, with a port over HTTP."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

server = MCPServer("test", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(structured_output=False)
def greet(name: str) -> str:
    """Greet someone."""
    return f"hello {name}"


@server.tool()
def environment() -> dict[str, str]:
    """Return what the server can see."""
    return dict(os.environ)


@server.tool()
def fail(text: str) -> str:
    """Fail."""
    raise ToolError(text)


@server.tool()
async def wait(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "done"


@server.tool()
def big(size: int) -> str:
    """Answer at length."""
    return "x" * size


@server.tool()
def crash() -> str:
    """End the server."""
    os._exit(3)


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def wipe() -> str:
    """Destroy everything."""
    return "wiped"


@server.tool()
def key(context: Context) -> str:
    """Return the idempotency key."""
    return str((context.request_context.meta or {}).get("idempotency-key"))


@server.tool()
def pid() -> int:
    """Return who answers."""
    return os.getpid()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()

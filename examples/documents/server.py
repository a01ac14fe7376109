"""``python -m headrace.examples.documents.server``: the library as an MCP server, over standard input and output.

Where ``DOCUMENTS_JOURNAL`` names a file, each call that is done is a line of JSON in it.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from headrace.examples.documents.library import Library, Refused, entries
from headrace.examples.documents.tools import TOOLS

LISTED = [
    Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=ToolAnnotations(destructive_hint=True) if tool.destructive else None,
    )
    for tool in TOOLS
]


def made(library: Library, journal: Path | None) -> Server[dict[str, Any]]:
    """Return the server of a library."""

    async def list_tools(
        _context: ServerRequestContext[dict[str, Any]], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=LISTED)

    async def call_tool(context: ServerRequestContext[dict[str, Any]], params: CallToolRequestParams) -> CallToolResult:
        arguments, key = params.arguments or {}, str((context.meta or {}).get("idempotency-key", ""))
        try:
            answer = library.call(params.name, arguments, key)
        except Refused as refused:
            return CallToolResult(content=[TextContent(type="text", text=str(refused))], is_error=True)
        if journal is not None:
            with journal.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"tool": params.name, "arguments": arguments, "key": key}) + "\n")
        text = TextContent(type="text", text=json.dumps(answer, ensure_ascii=False))
        return CallToolResult(content=[text], structured_content=answer)

    return Server("documents", on_list_tools=list_tools, on_call_tool=call_tool)


async def main() -> None:
    """Serve until standard input ends."""
    place = os.environ.get("DOCUMENTS_JOURNAL")
    server = made(Library(entries()), Path(place) if place else None)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())

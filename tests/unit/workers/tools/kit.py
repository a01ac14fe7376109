"""What tests of tools share: a tool opened from its YAML, and one attempt at it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from pydantic import SecretStr, TypeAdapter

from headrace.schemas.errors import ConfigError
from headrace.schemas.messages import Lane, Task, ToolCall
from headrace.schemas.pools import Pool
from headrace.schemas.tools import Tool
from headrace.workers.shell.tool_attempt import OpenTool, ToolRunner
from headrace.workers.shell.workplace import Workplace
from headrace.workers.tools.base import ToolConfig, open_tool

SPEC = TypeAdapter(Tool)


def config_of(name="t", *, secrets=None, endpoints=None, **fields):
    def secret(variable):
        if variable not in (secrets or {}):
            raise ConfigError(f"tool {name!r} needs {variable}, which is not set")
        return SecretStr(secrets[variable])

    return ToolConfig(name=name, spec=SPEC.validate_python(fields), pool="p", secret=secret, endpoints=endpoints or {})


@asynccontextmanager
async def opened(**fields):
    tool = open_tool(config_of(**fields))
    try:
        await tool.start()
        yield tool
    finally:
        await tool.close()


def call(arguments, /, *, timeout_s=10.0, key="j/s/0", **fields):
    """Make one call of a tool and return its answer."""

    async def main():
        async with opened(**fields) as tool:
            return await tool.call(arguments, timeout_s=timeout_s, idempotency_key=key)

    return asyncio.run(main())


def tool_task(tool="t", arguments=None, **fields):
    base = {"task_id": "j/s/0", "job_id": "j", "step": "s", "attempt": 1, "pool": "p", "lane": Lane.BATCH}
    made = ToolCall(tool=tool, arguments={} if arguments is None else arguments)
    return Task(**{**base, "reply_partition": 0, "timeout_ms": 5_000, "tool": made, **fields})


def runner_of(tools, *, cancelled=(), inline_bytes=262_144, store=None):
    """Return a runner of tools, each of which is a config, or an OpenTool."""
    opened_tools = {
        name: one if isinstance(one, OpenTool) else OpenTool.of(one.spec, open_tool(one)) for name, one in tools.items()
    }
    is_cancelled, pool = cancelled.__contains__, Pool(endpoint="p")
    place = Workplace("p", pool, "w", is_cancelled=is_cancelled, objects=lambda: store, inline_bytes=inline_bytes)
    return ToolRunner(opened_tools, place)

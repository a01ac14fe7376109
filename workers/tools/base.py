"""The seam between an attempt and a tool: one method, one answer or one `AdapterError`.

A tool does exactly one call: what is tried again is the orchestrator's to decide. Its errors say in `unconfirmed`
whether the call may have been done, and a tool that cannot know says so: a doubt is not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast

from pydantic import SecretStr

from headrace.schemas.messages import Task
from headrace.schemas.pools import Endpoint
from headrace.schemas.tools import ToolSpec


class ToolAnswer(NamedTuple):
    """What a tool answered."""

    output: Any
    """JSON."""
    provider: str = ""
    """Which of its providers answered, where it has several."""


class Tool(Protocol):
    """What every tool offers."""

    async def start(self) -> None:
        """Make ready for the first call; what takes long says how far it is.

        Raises:
            ConfigError: it can never work as it is set up.
        """
        ...

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        """Make one call.

        Args:
            arguments: hold the tool's schema.
            timeout_s: the whole call; the caller holds it too, so that a tool which forgets it cannot hang.
            idempotency_key: see `key_of`.

        Raises:
            AdapterError: what went wrong, as a kind, and whether the call may have been done.
        """
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


@dataclass(frozen=True, slots=True)
class ToolConfig:
    """What a tool is built from."""

    name: str
    """As the pools file calls it."""
    spec: ToolSpec
    pool: str
    """The pool that runs it, for metrics."""
    secret: Callable[[str], SecretStr]
    """What an environment variable holds; raises ConfigError where it is not set."""
    concurrency: int = 8
    """Most calls side by side."""
    endpoints: Mapping[str, tuple[Endpoint, SecretStr | None]] = field(default_factory=dict)
    """Endpoints that tools may use, with their keys."""


Factory = Callable[[ToolConfig], Tool]

REGISTRY = {
    "email": "headrace.workers.tools.email:EmailTool",
    "http": "headrace.workers.tools.http:HttpTool",
    "retrieve": "headrace.workers.tools.retrieve:RetrieveTool",
    "sql": "headrace.workers.tools.sql:SqlTool",
    "python": "headrace.workers.tools.python:PythonTool",
    "mcp": "headrace.workers.tools.mcp:McpTool",
    "noop": "headrace.workers.tools.noop:NoopTool",
}
"""Tools by kind. Imported when asked for: only a worker with an MCP tool loads the SDK."""


def open_tool(config: ToolConfig) -> Tool:
    """Build a tool.

    Raises:
        ConfigError: a secret or an extra is missing, or its settings cannot be used.
    """
    module, _, attribute = REGISTRY[config.spec.kind].partition(":")
    return cast(Factory, getattr(import_module(module), attribute))(config)


def key_of(task: Task, spec: ToolSpec) -> str:
    """Return the idempotency key of a call.

    Where a call changes something, all attempts of a task have one key: an attempt is made again because nobody knows
    whether the one before was done, and only an equal key lets the service see that it is the same order. A task's id
    is unique for ever (job, step, index), and whoever submits a job again under its id gets the same keys.
    Where it changes nothing, each attempt has its own, so that a service which stores answers by key does not give a
    stored failure back.
    """
    return task.task_id if spec.side_effect else f"{task.task_id}:{task.attempt}"

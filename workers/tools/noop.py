"""Answers with its arguments, for tests and for benchmarks of the engine alone."""

from __future__ import annotations

from typing import Any

from headrace.workers.tools.base import ToolAnswer, ToolConfig


class NoopTool:
    """An echo."""

    def __init__(self, config: ToolConfig) -> None:
        del config

    async def start(self) -> None:
        """Nothing is to be made ready."""

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        del timeout_s, idempotency_key
        return ToolAnswer(arguments)

    async def close(self) -> None:
        """Nothing is held."""

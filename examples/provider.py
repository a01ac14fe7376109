"""Who answers the pools of an example over HTTP, as the example sees it: an address, and what was sent there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from headrace.console.deployment import HOST, listens


@dataclass(frozen=True, slots=True)
class Provider:
    """A server of OpenAI's protocol on this machine."""

    port: int

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    def listens(self) -> bool:
        """Whether it accepts connections."""
        return listens(self.port)

    def log(self) -> list[dict[str, Any]]:
        """Return the calls so far, each with its ``body``. The scripted provider has a log; a model server has none."""
        lines: list[dict[str, Any]] = httpx.get(f"http://{self.address}/log", timeout=10.0).raise_for_status().json()
        return lines

    def prompts(self) -> list[str]:
        """Return the messages of each call so far as one text."""
        return ["\n".join(str(one["content"]) for one in call["body"]["messages"]) for call in self.log()]

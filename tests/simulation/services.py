"""The services behind the tools: effects by idempotency key, latency and errors by seed, and a memory of every call.

A service that honours keys does what comes again with the same key only once. One that does not does it again, and
remembers that as well: a judge looks whether it was ever asked to.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from tests.simulation.faults import Faults
from tests.simulation.process import Process
from tests.simulation.world import World


@dataclass(slots=True)
class ServiceCall:
    """One call that a worker made of a tool."""

    tool: str
    key: str
    """The idempotency key."""
    arguments: dict[str, Any]
    process: Process
    began_us: int
    effect_us: int | None = None
    """When the service did it; None where it did not, or had done it for this key already."""
    ended: str = ""
    """``ok``, ``refused`` where surely nothing was done, ``doubt``; empty where the worker died first."""


class Services:
    """Everything that tools call.

    Args:
        latency_s: mean of a call's duration.
    """

    def __init__(self, world: World, faults: Faults, *, latency_s: float) -> None:
        self.world = world
        self.calls: list[ServiceCall] = []
        self._faults = faults
        self._draws = world.draws("services")
        self._latency_s = latency_s
        self._done: set[tuple[str, str]] = set()
        """What honours keys: which of them it has seen, by tool."""

    def tool(self, config: ToolConfig) -> SimTool:
        """Return a worker's tool."""
        return SimTool(self, config)

    def latency_s(self) -> float:
        """Draw how long the way to a service takes, or the way back."""
        return min(self._draws.expovariate(2 / self._latency_s), 1.0)

    def fails(self, share: float) -> bool:
        """Draw whether a service fails."""
        return self._faults.switches.provider and not self._faults.calm and self._draws.random() < share

    def does(self, call: ServiceCall, *, honours_keys: bool) -> None:
        """Do what a call asks for, once a key where keys are honoured."""
        what = (call.tool, call.key)
        if not honours_keys or what not in self._done:
            self._done.add(what)
            call.effect_us = self.world.now_us


class SimTool:
    """What a worker of tools calls; answers with its arguments and the key."""

    def __init__(self, services: Services, config: ToolConfig) -> None:
        self._services = services
        self._config = config

    async def start(self) -> None:
        """Nothing is to be made ready."""

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        """Go there, have it done, come back; any of it may fail, and only before it is done it surely was not."""
        services, world = self._services, self._services.world
        process = world.running().process
        call = ServiceCall(self._config.name, idempotency_key, arguments, process, world.now_us)
        services.calls.append(call)
        if services.fails(0.1):
            call.ended = "refused"
            raise AdapterError(ErrorKind.OVERLOADED, "simulated 503")
        if services.fails(0.1):
            call.ended = "refused"
            raise AdapterError(ErrorKind.BAD_REQUEST, "simulated 400")
        await asyncio.sleep(services.latency_s())
        services.does(call, honours_keys=self._config.spec.idempotent)
        if services.fails(0.1):
            call.ended = "doubt"
            raise AdapterError(ErrorKind.NETWORK, "simulated broken connection", unconfirmed=True)
        await asyncio.sleep(timeout_s * 2 if services.fails(0.03) else services.latency_s())
        call.ended = "ok"
        return ToolAnswer({**arguments, "key": idempotency_key})

    async def close(self) -> None:
        """Nothing is held."""

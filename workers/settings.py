"""What one worker process is to do: resolved once from the settings, the pools file and the command line."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from headrace.runtime.pools import api_key, find_pool, load_pools
from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError
from headrace.schemas.pools import TOOLS_ADAPTER, Endpoint, Pool
from headrace.schemas.tools import RetrieveTool, ToolSpec

IMMEDIATE_CAPACITY = 4_000
"""Tasks in memory a lane for an adapter in process: a hand-over costs the same for one task as for hundreds."""
IN_PROCESS = ("minilm", "noop")
"""Adapters that call nothing over a network."""
MAX_CONCURRENCY = 4_096


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker."""

    pool_name: str
    pool: Pool
    endpoint: Endpoint
    key: SecretStr | None
    concurrency: int
    """Most calls side by side, over both lanes."""
    worker: str
    """This process's name in results and dead letters."""
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    """The tools that it runs; none: its pool asks a model."""
    embedders: Mapping[str, tuple[Endpoint, SecretStr | None]] = field(default_factory=dict)
    """The endpoints that these tools ask, with their keys."""

    def capacity(self, buffer_factor: int, *, immediate: bool) -> int:
        """Return how many tasks of one lane may be in memory: those that run and those that wait for them."""
        return max(self.concurrency * (1 + buffer_factor), IMMEDIATE_CAPACITY if immediate else 0)


def plan_worker(pool: str, settings: Settings, concurrency: int | None = None) -> WorkerPlan:
    """Resolve what a worker of this pool is to do.

    Raises:
        ConfigError: unknown pool, wrong pools file, missing key, or a concurrency that cannot be.
    """
    pools = load_pools(settings.pools_file)
    found, endpoint = find_pool(pools, pool)
    if concurrency is not None and not 1 <= concurrency <= MAX_CONCURRENCY:
        raise ConfigError(f"concurrency {concurrency} is not between 1 and {MAX_CONCURRENCY}")
    if endpoint.adapter not in (*IN_PROCESS, TOOLS_ADAPTER) and not endpoint.base_url:
        raise ConfigError(f"endpoint {found.endpoint!r} of pool {pool!r} has no base_url", "add it to the pools file")
    tools = pools.tools_of(pool)
    asked = [tool.endpoint for tool in tools.values() if isinstance(tool, RetrieveTool) and tool.endpoint]
    return WorkerPlan(
        pool_name=pool,
        pool=found,
        endpoint=endpoint,
        key=api_key(endpoint, found.endpoint),
        concurrency=concurrency or found.concurrency,
        worker=f"{pool}-{socket.gethostname()}-{os.getpid()}",
        tools=tools,
        embedders={name: (pools.endpoints[name], api_key(pools.endpoints[name], name)) for name in asked},
    )

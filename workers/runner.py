"""Opens what makes the calls of a worker: the adapter of its pool, for answers or for embeddings, or its tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from headrace.runtime.objects import ObjectStore
from headrace.runtime.pools import secret
from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.base import AdapterConfig, open_adapter, open_embedder
from headrace.workers.core.arguments import ArgumentsInvalid
from headrace.workers.settings import WorkerPlan
from headrace.workers.shell.attempt import AttemptRunner
from headrace.workers.shell.tool_attempt import OpenTool, ToolRunner
from headrace.workers.shell.workplace import Workplace
from headrace.workers.tools.base import ToolConfig, open_tool

if TYPE_CHECKING:
    from headrace.workers.shell.embed_attempt import EmbedRunner


def open_runner(
    plan: WorkerPlan,
    *,
    is_cancelled: Callable[[str], bool],
    is_called_off: Callable[[str], bool],
    objects: Callable[[], ObjectStore],
    inline_bytes: int,
) -> AttemptRunner:
    """Return the runner of a plan; see `Workplace` for the arguments.

    Raises:
        ConfigError: a tool or an adapter cannot be used: a secret, a module, a model or an extra is missing.
    """
    place = Workplace(
        pool_name=plan.pool_name,
        pool=plan.pool,
        worker=plan.worker,
        is_cancelled=is_cancelled,
        is_called_off=is_called_off,
        objects=objects,
        inline_bytes=inline_bytes,
        # Of tools each says itself whether it lies outside.
        public=plan.endpoint.public and not plan.tools,
    )
    if plan.tools:
        return ToolRunner(open_tools(plan), place)
    adapter = AdapterConfig(plan.pool.endpoint, plan.endpoint, plan.key, plan.concurrency)
    if plan.pool.serves == "embeddings":
        return _embed_runner(plan)(open_embedder(adapter), place)
    return AttemptRunner(open_adapter(adapter), place)


def _embed_runner(plan: WorkerPlan) -> type[EmbedRunner]:
    """Return the runner of a pool that serves embeddings; it needs numpy, which is an extra.

    Raises:
        ConfigError: that is not installed.
    """
    try:
        from headrace.workers.shell.embed_attempt import EmbedRunner
    except ImportError as error:
        missing = f"pool {plan.pool_name!r} serves embeddings, which needs {error.name}; it is not installed"
        raise ConfigError(missing, "pip install 'headrace[embed]'") from None
    return EmbedRunner


def open_tools(plan: WorkerPlan) -> Mapping[str, OpenTool]:
    """Open every tool of a plan.

    Raises:
        ConfigError: one cannot be used.
    """
    found = {}
    for name, spec in plan.tools.items():
        config = ToolConfig(
            name=name,
            spec=spec,
            pool=plan.pool_name,
            secret=lambda variable, name=name: secret(variable, f"tool {name!r}"),  # type: ignore[misc]
            concurrency=plan.concurrency,
            endpoints=plan.embedders,
        )
        try:
            found[name] = OpenTool.of(spec, open_tool(config))
        except ArgumentsInvalid as error:
            raise ConfigError(f"tool {name!r}: {error}") from None
    return found

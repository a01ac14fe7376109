"""Which runner makes the attempts of a pool, and what it calls with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.runtime.objects import ObjectStore
from headrace.schemas.errors import ConfigError
from headrace.workers.adapters.base import Adapter, AdapterConfig, Embedder, open_adapter, open_embedder
from headrace.workers.settings import WorkerPlan
from headrace.workers.shell.attempt import AttemptRunner


def open_runner(
    plan: WorkerPlan,
    *,
    is_cancelled: Callable[[str], bool],
    objects: Callable[[], ObjectStore],
    inline_bytes: int,
) -> tuple[AttemptRunner, Adapter | Embedder]:
    """Return the runner of a worker's attempts, and the adapter that the caller closes.

    Raises:
        ConfigError: it needs an extra or a model that is not installed.
    """
    config = AdapterConfig(plan.pool.endpoint, plan.endpoint, plan.key, plan.concurrency)
    of_pool: dict[str, Any] = {
        "pool_name": plan.pool_name,
        "pool": plan.pool,
        "worker": plan.worker,
        "is_cancelled": is_cancelled,
        "objects": objects,
        "inline_bytes": inline_bytes,
    }
    if plan.pool.serves == "chat":
        adapter = open_adapter(config)
        return AttemptRunner(adapter=adapter, **of_pool), adapter
    try:
        from headrace.workers.shell.embed_attempt import EmbedRunner
    except ImportError as error:
        missing = f"pool {plan.pool_name!r} serves embeddings, which needs {error.name}; it is not installed"
        raise ConfigError(missing, "pip install 'headrace[embed]'") from None
    embedder = open_embedder(config)
    return EmbedRunner(embedder, **of_pool), embedder

"""Who answers on this machine: the local model server, or the scripted provider; and the pools file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from headrace.console.deployment import MODEL_STAGE, free_port, provider_spec
from headrace.runtime.local_model import ModelServer, base_url, command, wait_until_ready
from headrace.runtime.supervisor import ProcessSpec
from headrace.schemas.errors import DependencyUnavailable

SCRIPT = {
    # About what a small hosted model does, so that the demo has something to show.
    "latency": {"law": "lognormal", "ms": 60, "sigma": 0.4},
    "rules": [
        {"match": "^Notes from a speech", "answer": "A scripted summary: no model has read these notes."},
        {"match": "", "answer": "A scripted note: no model has read this text."},
    ],
}


@dataclass(frozen=True, slots=True)
class Answerers:
    """What is started to answer the pools' calls."""

    specs: tuple[ProcessSpec, ...]
    pools: dict[str, Any]
    """The pools file's content."""
    banner: tuple[str, ...]
    """What people must know about who answers."""
    scripted: bool = False


def example_pools() -> dict[str, Any]:
    """Return the content of ``examples/pools.yaml``."""
    text = files("headrace.examples").joinpath("pools.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def scripted(folder: Path, why: str) -> Answerers:
    """Return the scripted provider behind the example's pools.

    Args:
        folder: where its script is written.
        why: one sentence for the banner.
    """
    port, script = free_port(), folder / "provider.yaml"
    script.write_text(yaml.safe_dump(SCRIPT), encoding="utf-8")
    pools = example_pools()
    pools["endpoints"]["local"] = {"base_url": base_url(port), "public": False}
    banner = (f"Scripted provider: {why}.", "Its answers are written in advance; no model reads the document.")
    return Answerers((provider_spec(port, script),), pools, banner, scripted=True)


def modelled(small: Path, large: Path | None) -> Answerers:
    """Return the local model server, one process a model, behind the example's pools."""
    from headrace.runtime.model_servers import describe, plan

    servers = plan(small=small, large=large, port=_two_free_ports())
    pools = example_pools()
    pools["endpoints"]["local"]["base_url"] = base_url(servers[0].port)
    if len(servers) > 1:
        pools["endpoints"]["local-large"] = {"base_url": base_url(servers[1].port), "public": False}
        pools["pools"]["large"]["endpoint"] = "local-large"
    return Answerers(tuple(model_spec(server) for server in servers), pools, tuple(describe(servers)))


def model_spec(server: ModelServer) -> ProcessSpec:
    """Return a model server's process; it is ready when it lists its models."""

    def ready() -> bool:
        try:
            return bool(wait_until_ready(base_url(server.port), timeout_s=0.05))
        except DependencyUnavailable:
            return False

    return ProcessSpec(
        name=f"model-{server.port}",
        command=command(server),
        ready=ready,
        ready_timeout_s=120.0,
        stage=MODEL_STAGE,
        drain_timeout_s=10.0,
    )


def _two_free_ports() -> int:
    """Return a port whose next one is free as well: a large model of its own takes that."""
    from headrace.console.deployment import listens

    for _ in range(20):
        port = free_port()
        if port < 65_535 and not listens(port + 1):
            return port
    return port

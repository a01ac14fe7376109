"""Options that many commands share, and the settings that follow from them: flag, then environment, then file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headrace.runtime.settings import Settings

Servers = Annotated[
    str | None,
    typer.Option("--bootstrap-servers", "-b", help="host:port list of Kafka. [env: HEADRACE_KAFKA__BOOTSTRAP_SERVERS]"),
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", help="What every topic begins with. [env: HEADRACE_TOPICS__PREFIX]")
]
Pools = Annotated[
    Path | None, typer.Option("--pools", help="The YAML of endpoints and pools. [env: HEADRACE_POOLS_FILE]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, in the format of docs/cli.md.")]


def settings_from(
    servers: str | None = None, prefix: str | None = None, pools: Path | None = None, **more: Any
) -> Settings:
    """Return the settings with the given flags over environment and file.

    Raises:
        ConfigError: a value cannot be used.
    """
    from headrace.runtime.settings import load_settings

    kafka = {"bootstrap_servers": servers} if servers else None
    topics = {"prefix": prefix} if prefix else None
    return load_settings(kafka=kafka, topics=topics, pools_file=pools, **more)


def connected(servers: str | None, prefix: str | None, pools: Path | None = None, **more: Any) -> Settings:
    """Return settings that name a Kafka: the given one, else the local one that runs here.

    The local one is what `headrace kafka start` or `headrace up` left; without either librdkafka would try
    127.0.0.1:9092 for fifteen seconds and then blame the network.
    """
    settings = settings_from(servers, prefix, pools, **more)
    if settings.kafka.bootstrap_servers:
        return settings
    from headrace.console.local_files import read_up
    from headrace.runtime.local_kafka_state import status

    if up := read_up(settings):
        again = settings_from(up.bootstrap_servers, prefix or up.prefix, pools or Path(up.pools_file), **more)
        return again if settings.pools_file is None else again.model_copy(update={"pools_file": settings.pools_file})
    running = status(settings.data_path / "kafka").bootstrap_servers
    return settings_with_servers(settings, running or "127.0.0.1:9092")


def settings_with_servers(settings: Settings, servers: str) -> Settings:
    """Return the same settings with other bootstrap servers."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": servers})
    return settings.model_copy(update={"kafka": kafka})


def parse_labels(pairs: list[str]) -> dict[str, str]:
    """Read ``k=v`` pairs.

    Raises:
        ConfigError: one has no ``=`` or no name.
    """
    from headrace.schemas.errors import ConfigError

    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ConfigError(f"--label {pair!r} is not name=value")
        labels[name] = value
    return labels

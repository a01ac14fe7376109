"""``headrace orchestrator``, ``worker``, ``provider``: services as processes of their own, never imported.

The command becomes the service (exec), so signals, exit codes and the process id are the service's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from headrace.console.options import Pools, Prefix, Servers, connected


def orchestrator(
    slot: Annotated[
        str | None, typer.Option(help="Names this instance, stable over restarts; default: the host.")
    ] = None,
    workflows: Annotated[list[Path] | None, typer.Option(help="Folder or file of workflows; repeatable.")] = None,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
    pools: Pools = None,
) -> None:
    """Run one orchestrator until SIGTERM or Ctrl-C.

    Exit codes: 0 drained; 1 failed; 2 settings; 3 Kafka, its topics or the object store are not there.
    """
    from headrace.console.deployment import service_environment

    settings = connected(bootstrap_servers, prefix, pools)
    added = service_environment(settings, slot=slot, workflows=workflows)
    _become([sys.executable, "-m", "headrace.orchestrator"], added)


def worker(  # noqa: PLR0917 - typer makes options of them
    pool: Annotated[str, typer.Argument(help="A pool of the pools file.", show_default=False)],
    concurrency: Annotated[int | None, typer.Option(min=1, help="Calls side by side; default: the pool's.")] = None,
    replicas: Annotated[int, typer.Option(min=1, max=64, help="Processes, under one supervisor.")] = 1,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
    pools: Pools = None,
) -> None:
    """Run workers of one pool until SIGTERM or Ctrl-C.

    Exit codes: 0 drained; 1 failed; 2 settings or unknown pool; 3 Kafka or its topics are not there.
    """
    from headrace.console.deployment import service_environment, worker_command
    from headrace.runtime.pools import find_pool, load_pools

    settings = connected(bootstrap_servers, prefix, pools)
    find_pool(load_pools(settings.pools_file), pool)
    if replicas == 1:
        _become(worker_command(pool, concurrency), service_environment(settings))
    else:
        raise typer.Exit(_replicas(settings, pool, concurrency, replicas))


def _replicas(settings: object, pool: str, concurrency: int | None, count: int) -> int:
    from headrace.console.deployment import worker_spec
    from headrace.runtime.settings import Settings
    from headrace.runtime.supervisor import Supervisor

    assert isinstance(settings, Settings)
    with Supervisor(settings.data_path / "logs") as supervisor:
        for number in range(1, count + 1):
            spec = worker_spec(settings, pool, number, concurrency=concurrency, max_restarts=5)
            shown = supervisor.start(spec)
            typer.echo(f"{shown.name}: pid {shown.pid}, log {shown.log}", err=True)
        return supervisor.wait()


def provider(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: the system chooses; the address is printed.")] = 0,
    script: Annotated[Path | None, typer.Option(help="YAML of latencies and failures; default: an echo.")] = None,
) -> None:
    """Run the scripted provider: an OpenAI-compatible server that answers and fails as a script says. Loopback only.

    Exit codes: 0 stopped; 2 the script or the port cannot be used.
    """
    from headrace.console.deployment import provider_command

    _become(provider_command(port, script), {})


def _become(command: list[str], added: dict[str, str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**os.environ, **added})  # noqa: S606 - a list, no shell

"""``headrace up`` and ``headrace down``: a whole deployment on this machine, under one supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.console.options import Pools, Prefix, Servers, settings_from

DOWN_TIMEOUT_S = 120.0


def up(  # noqa: PLR0917 - typer makes options of them
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes of each pool.")] = 1,
    orchestrators: Annotated[int, typer.Option(min=1, max=12, help="Orchestrator processes.")] = 1,
    workflows: Annotated[
        list[Path] | None, typer.Option(help="Folder or file of workflows; repeatable. Default: the examples.")
    ] = None,
    scripted: Annotated[bool, typer.Option("--provider", help="Scripted answers in place of a model.")] = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
    pools: Pools = None,
) -> None:
    """Start Kafka (if none is given), the model server (if a pool's endpoint is on this machine), orchestrators and
    workers of every pool, and stay. Ctrl-C drains; a second one ends at once. Logs lie in data_dir/logs.

    Exit codes: 0 stopped; 1 a process failed; 2 settings; 3 something needed is not there.
    """
    from headrace.console.local_stack import LocalStack, StackSize

    size = StackSize(orchestrators=orchestrators, workers=workers, scripted=scripted)
    settings = settings_from(bootstrap_servers, prefix, pools)
    with LocalStack(settings, size, workflows or None, say=lambda line: typer.echo(line, err=True)) as stack:
        raise typer.Exit(stack.wait())


def down() -> None:
    """Stop the running `headrace up`: its workers drain first.

    Exit codes: 0 stopped, or none was running; 1 it had to be killed.
    """
    from headrace.console.local_files import forget_up, read_up
    from headrace.runtime.processes import end

    settings = settings_from()
    state = read_up(settings)
    if state is None:
        typer.echo("was not running")
        return
    willing = end([state.process], timeout_s=DOWN_TIMEOUT_S)
    forget_up(settings)
    typer.echo("stopped" if willing else f"killed: it did not drain within {DOWN_TIMEOUT_S:.0f} s")
    raise typer.Exit(0 if willing else 1)

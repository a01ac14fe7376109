"""``headrace model start|stop|status``: open-weights models on this machine, no key needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from headrace.runtime.local_model import bundled_small_model, resolve_model, serve, server_available
from headrace.runtime.model_servers import describe, plan, read_state, start_detached, stop
from headrace.runtime.settings import load_settings
from headrace.schemas.errors import ConfigError, DependencyUnavailable, HeadraceError

app = typer.Typer(help="Serve open-weights models on this machine.", no_args_is_help=True)

_FALLBACK = "use the scripted provider, or point the pools at a hosted one: one line of the pools file"


@app.command("start")
def start_command(  # noqa: PLR0917 - typer makes options of them
    small: Annotated[Path | None, typer.Option(help="GGUF file of the small model; default: SmolLM2-135M.")] = None,
    large: Annotated[
        str | None, typer.Option(help="GGUF file or URL of the large model; default: the small one.")
    ] = None,
    large_sha256: Annotated[str | None, typer.Option(help="Its checksum; required with a URL.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65_534, help="Port; a large model takes the next one.")] = 9801,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Requests side by side.")] = 4,
    context: Annotated[int, typer.Option(min=256, help="Tokens of all of these together.")] = 8192,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and end with Ctrl-C.")] = False,
) -> None:
    """Start the model servers, on the loopback interface only."""
    try:
        _start(small, large, large_sha256, port=port, parallel=parallel, context=context, foreground=foreground)
    except HeadraceError as error:
        _fail(error)


@app.command("stop")
def stop_command() -> None:
    """Stop the model servers that `start` left running."""
    try:
        stopped = stop(_folder())
    except HeadraceError as error:
        _fail(error)
    for server in stopped:
        typer.echo(f"stopped pid {server.process.pid} ({server.model})")
    if not stopped:
        typer.echo("no model server was running")


@app.command("status")
def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Say which models are served; exit code 1 if none."""
    try:
        alive = [server for server in read_state(_folder()) if server.process.alive()]
    except HeadraceError as error:
        _fail(error)
    if as_json:
        shown = [
            {"pid": s.process.pid, "base_url": s.url, "model": s.model, "aliases": list(s.aliases), "log": s.log}
            for s in alive
        ]
        typer.echo(json.dumps({"servers": shown}))
    else:
        for line in describe(alive) or ["no model server runs"]:
            typer.echo(line)
    raise typer.Exit(0 if alive else 1)


def _start(
    small: Path | None,
    large: str | None,
    large_sha256: str | None,
    *,
    port: int,
    parallel: int,
    context: int,
    foreground: bool,
) -> None:
    if reason := server_available():
        raise DependencyUnavailable(reason, _FALLBACK)
    small_file = resolve_model(str(small)) if small else bundled_small_model()
    large_file = _with_progress(large, large_sha256) if large else None
    servers = plan(small=small_file, large=large_file, port=port, parallel=parallel, context=context)
    if foreground:
        if len(servers) > 1:
            raise ConfigError(
                "--foreground serves one model, and --large is another one",
                "leave --foreground out, or start one process a model",
            )
        _say(describe(servers))
        serve(servers[0])
    running = start_detached(servers, _folder())
    typer.echo(running[0].url)
    _say([*describe(running), *(f"log: {server.log}" for server in running)])


def _with_progress(spec: str, sha256: str | None) -> Path:
    """Resolve the model; the bar appears with the first byte, so a file that is there shows none."""
    columns = (TextColumn("large model"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("download", total=None, visible=False)
        return resolve_model(
            spec, sha256, progress=lambda count, total: bar.update(task, completed=count, total=total, visible=True)
        )


def _say(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line, err=True)


def _folder() -> Path:
    return load_settings().data_path / "model"


def _fail(error: HeadraceError) -> NoReturn:
    typer.echo(f"error: {error.message}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)
    raise typer.Exit(error.exit_code)

"""``headrace examples``: what each pattern looks like, run and checked on this machine."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headrace.console.options import AsJson, Servers, settings_from
from headrace.examples.catalogue import examples, find
from headrace.examples.runner import ExampleRun, run_examples
from headrace.schemas.errors import ConfigError

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_examples(as_json: AsJson = False) -> None:
    """Name the examples, one a line."""
    known = examples()
    if as_json:
        typer.echo(json.dumps([{"name": one.name, "title": one.title, "folder": str(one.home)} for one in known]))
        return
    width = max(len(one.name) for one in known)
    for one in known:
        typer.echo(f"{one.name:<{width}}  {one.title}")


@app.command("run")
def run(  # noqa: PLR0917 - typer makes options of them
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Which; see: list.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    scripted: Annotated[bool, typer.Option("--provider", help="Scripted answers in place of a local model.")] = False,
    pools: Annotated[Path | None, typer.Option("--pools", help="Your own pools file, with your provider.")] = None,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
) -> None:
    """Run examples on a Kafka, each with what it needs beside it, and check what it shows.

    Where no Kafka is named and none runs here, one is started. Data and logs lie in data_dir/examples.

    Exit codes: 0 every check held; 1 one did not, or an example did not come to its end; 2 there is no such example;
    3 there is no Kafka and none can be started; 130 interrupted, everything stopped.
    """
    if bool(names) == every:
        raise ConfigError("name examples, or give --all", "headrace examples list")
    # SIGTERM ends as Ctrl-C does: through every `with`, so that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = settings_from(bootstrap_servers)
    chosen = examples() if every else find(names or [])
    ran: list[ExampleRun] = []
    for one in run_examples(
        chosen,
        settings,
        lambda line: typer.echo(line, err=True),
        answers="scripted" if scripted else "usual",
        pools=pools.absolute() if pools else None,
    ):
        typer.echo(f"{len(ran) + 1}/{len(chosen)} {one.summary()}\n", err=True)
        ran.append(one)
    _print(ran, as_json=as_json)
    raise typer.Exit(0 if all(one.passed for one in ran) else 1)


def _print(ran: list[ExampleRun], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "passed": one.passed} for one in ran], ensure_ascii=False))
        return
    for one in ran:
        typer.echo(one.summary())
        for check in one.checks:
            if not check.held:
                typer.echo(f"        ✗ {check.what}: {check.saw}")

"""``headrace dead-letters list``: what could not be read or done, with its cause and origin."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.console.options import AsJson, Prefix, Servers, connected

app = typer.Typer(name="dead-letters", help="Look at dead letters.", no_args_is_help=True)


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 50,
    job: Annotated[str | None, typer.Option("--job", help="Only those of this job.")] = None,
    as_json: AsJson = False,
    bootstrap_servers: Servers = None,
    prefix: Prefix = None,
) -> None:
    """Print the newest dead letters, oldest first; with --json one object a line.

    Exit codes: 0, also where there are none; 3 Kafka is not there.
    """
    from collections import deque

    from headrace.console.letters import read_letters
    from headrace.runtime.kafka import wait_for_broker

    settings = connected(bootstrap_servers, prefix)
    wait_for_broker(settings)
    letters = (letter for letter in read_letters(settings) if job in (None, letter.job_id))
    newest = deque(letters, maxlen=limit * 100)
    for letter in sorted(newest, key=lambda one: one.at_ms)[-limit:]:
        if as_json:
            typer.echo(json.dumps(letter.model_dump(mode="json"), ensure_ascii=False))
            continue
        at = datetime.fromtimestamp(letter.at_ms / 1000, tz=UTC).isoformat(timespec="seconds")
        origin = f"{letter.origin.topic}[{letter.origin.partition}]@{letter.origin.offset}"
        typer.echo(f"{at}  {letter.reason:<18} {letter.job_id or '-':<36} {origin}  {letter.message}")

"""``headrace demo``: one command, nothing to configure."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.console.options import Servers, settings_from

if TYPE_CHECKING:
    from headrace.console.demo_run import DemoResult

SHOWN_NOTES = 5


def demo(  # noqa: PLR0917 - typer makes options of them
    document: Annotated[str, typer.Option(help="default (7,000 tokens), long (35,000), or a text file.")] = "default",
    scripted: Annotated[bool, typer.Option("--provider", help="Scripted answers in place of a model.")] = False,
    large: Annotated[str | None, typer.Option(help="GGUF file or URL of pool large; default: the small one.")] = None,
    large_sha256: Annotated[str | None, typer.Option(help="Its checksum; required with a URL.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the topics of this run on the broker.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout; progress on stderr.")] = False,
    bootstrap_servers: Servers = None,
) -> None:
    """Summarise one long document as one job: split, notes on pool small, a tree of summaries on pool large.

    Starts what it needs on this machine and stops it again; data and logs lie in data_dir/demo. Times: seconds is
    all of it; model_seconds runs from the first task's dispatch to the last task's result; setup_seconds is what
    starting and stopping took.

    Exit codes: 0 the job succeeded; 1 it did not; 2 the document cannot be used; 3 there is no Kafka and none can
    be started, or a process did not come up; 130 interrupted, everything stopped.
    """
    from headrace.console.demo_run import DemoOptions, run_demo

    # SIGTERM ends as Ctrl-C does: through every `with`, so that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = DemoOptions(document, scripted=scripted, large=large, large_sha256=large_sha256, keep=keep)
    result = run_demo(settings_from(bootstrap_servers), options, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(result.plain(), ensure_ascii=False))
    else:
        _print(result)
    raise typer.Exit(0 if result.outcome.status.value == "succeeded" else 1)


def _print(result: DemoResult) -> None:
    from headrace.console.outcome_view import receipt_lines

    outcome = result.outcome
    reason = f" ({outcome.reason.value}: {outcome.message})" if outcome.reason else ""
    typer.echo(f"\noutcome: {outcome.status.value}{reason}")
    for number, note in enumerate(result.notes[:SHOWN_NOTES], 1):
        typer.echo(f"note {number}: {' '.join(note.split())}")
    if len(result.notes) > SHOWN_NOTES:
        typer.echo(f"… {len(result.notes)} notes in all")
    typer.echo(f"\nsummary: {outcome.output}\n")
    typer.echo("\n".join(receipt_lines(outcome.receipt)))
    typer.echo(
        f"times: {result.seconds:.1f} s in all, {result.model_seconds:.1f} s with the model, "
        f"{result.setup_seconds:.1f} s to start and stop"
    )

"""``headrace``: the root of the command line. Commands import what is heavy only when they run."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from headrace.console import failure
from headrace.console.commands import (
    config,
    dead_letters,
    demo,
    doctor,
    jobs,
    kafka,
    lag,
    local,
    objects,
    services,
    submit,
    topics,
    watch,
)

EPILOG = (
    "Exit codes: 0 done or drained; 1 failed (also: the job did not succeed); 2 usage or settings; "
    "3 something needed is not reachable; 130 interrupted."
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from headrace import __version__

        typer.echo(f"headrace {__version__}")
        raise typer.Exit


def root(
    version: Annotated[  # noqa: ARG001 - its callback acts, before any command is looked for
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. [env: HEADRACE_DEBUG]")] = False,
) -> None:
    """Jobs in, keyed tasks on Kafka, workers by model tier, exactly one outcome out."""
    if debug:
        os.environ[failure.DEBUG_VARIABLE] = "1"


HEAVY = {
    "examples": ("Run what shows the patterns, with its checks.", "On this machine"),
    "model": ("Serve open-weights models on this machine.", "On this machine"),
    "workflow": ("Check, test and show workflows.", "Operate"),
}
"""Groups that import much: loaded only when they are named, so that ``headrace --help`` stays quick."""


def build(arguments: list[str]) -> typer.Typer:
    """Return the application; groups of `HEAVY` are loaded if an argument names them."""
    app = typer.Typer(
        name="headrace",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    app.command(rich_help_panel="Jobs")(submit.submit)
    app.command(rich_help_panel="Jobs")(jobs.status)
    app.command(rich_help_panel="Jobs")(watch.watch)
    app.command(rich_help_panel="Jobs")(jobs.outcome)
    app.command(rich_help_panel="Jobs")(jobs.cancel)
    app.command(rich_help_panel="Jobs")(jobs.signal)
    app.command(rich_help_panel="Operate")(lag.lag)
    app.add_typer(topics.app, rich_help_panel="Operate")
    app.add_typer(dead_letters.app, rich_help_panel="Operate")
    app.add_typer(objects.app, rich_help_panel="Operate")
    app.add_typer(config.app, rich_help_panel="Operate")
    app.command(rich_help_panel="Operate")(doctor.doctor)
    app.command(rich_help_panel="Run")(services.orchestrator)
    app.command(rich_help_panel="Run")(services.worker)
    app.command(rich_help_panel="Run")(services.provider)
    app.command(rich_help_panel="On this machine")(demo.demo)
    app.command(rich_help_panel="On this machine")(local.up)
    app.command(rich_help_panel="On this machine")(local.down)
    app.add_typer(kafka.app, rich_help_panel="On this machine")
    _mount_heavy(app, arguments)
    return app


def _mount_heavy(app: typer.Typer, arguments: list[str]) -> None:
    for name, (text, panel) in HEAVY.items():
        if name in arguments:
            module = import_module(f"headrace.console.commands.{name}")
            app.add_typer(module.app, name=name, help=text, rich_help_panel=panel)
        else:
            app.add_typer(_stub(), name=name, help=text, rich_help_panel=panel)


def _stub() -> typer.Typer:
    """Return a group that only stands in the help."""
    stub = typer.Typer()
    stub.command("-", hidden=True)(lambda: None)
    stub.callback()(lambda: None)
    return stub


def main() -> None:
    """Run a command and exit; the entry point of the package."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code. Errors of ours end as one line and a hint, never as a traceback."""
    import structlog

    from headrace.schemas.errors import HeadraceError

    # What a library logs is no part of a command's answer, which may be JSON.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    try:
        # Not standalone: click would turn Ctrl-C into "Aborted!" with code 1.
        code = build(arguments)(arguments, prog_name="headrace", standalone_mode=False)
    except HeadraceError as error:
        return failure.show(error)
    except (KeyboardInterrupt, typer.Abort):
        code = failure.INTERRUPTED
    except BrokenPipeError:
        # The reader went away (headrace … | head): not our failure, and nothing more can be told on stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _usage(error) if hasattr(error, "format_message") else failure.show_unexpected(error)
    if code == failure.INTERRUPTED:  # Typer itself turns most interrupts into this code, without a word.
        typer.secho("interrupted", err=True)
    return code if isinstance(code, int) else 0


def _usage(error: Exception) -> int:
    """Print a usage error as click would: the context knows the command's usage line."""
    error.show()  # type: ignore[attr-defined]
    return int(getattr(error, "exit_code", 2))

"""How a command fails: one red line, one hint, the error's exit code; the traceback only where it was asked for."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from headrace.schemas.errors import HeadraceError

DEBUG_VARIABLE = "HEADRACE_DEBUG"
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0", "false")


def show(error: HeadraceError) -> int:
    """Print an error of ours on standard error and return its exit code."""
    _line("error", error.message)
    if error.hint:
        typer.secho(f"hint: {error.hint}", err=True, dim=True)
    if debugging():
        traceback.print_exception(error)
    return error.exit_code


def show_unexpected(error: Exception) -> int:
    """Print an error that is not ours: a bug, or a library's refusal."""
    _line("error", f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}")
    if debugging():
        traceback.print_exception(error)
    else:
        typer.secho(f"hint: run again with --debug (or {DEBUG_VARIABLE}=1) for the traceback", err=True, dim=True)
    return 1


def warn(text: str) -> None:
    """Print what does not end the command, but should be known, on standard error."""
    typer.secho(f"warning: {text}", err=True, fg=typer.colors.YELLOW)


def _line(word: str, text: str) -> None:
    # typer.secho, not rich: messages quote what users wrote, and [brackets] in it are no markup.
    typer.secho(f"{word}: {text}", err=True, fg=typer.colors.RED)

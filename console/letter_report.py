"""Prints what becomes of dead letters while they are worked off; a bar on a terminal where there are many."""

from __future__ import annotations

import json
from base64 import b64encode
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import Progress

from headrace.console.letter_view import harmless, readable
from headrace.console.resolver import Verdict
from headrace.schemas.codec import Record

MANY = 5
"""From so many letters on a bar is drawn."""
MAX_SHOWN = 4_000
"""Characters of a value that would be sent."""
_WORDS = {
    "redriven": "sent back to", "dropped": "dropped", "would_send": "would be sent to", "would_drop": "would be dropped"
}  # fmt: skip


class LetterReport:
    """A context manager; verdicts on standard output, the bar on standard error.

    Args:
        total: how many letters there are.
    """

    def __init__(self, total: int, *, as_json: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True) if total >= MANY and console.is_terminal else None
        self._task = self._progress.add_task("letters", total=total) if self._progress else None
        self._as_json = as_json
        self._refused = 0

    @property
    def exit_code(self) -> int:
        """0 where every letter was taken, 1 where some were refused."""
        return 1 if self._refused else 0

    def add(self, verdict: Verdict) -> None:
        """Print a verdict."""
        self._refused += verdict.action == "refused"
        if self._as_json:
            typer.echo(json.dumps(_plain(verdict), ensure_ascii=False))
        else:
            _print(verdict)
        if self._progress and self._task is not None:
            self._progress.advance(self._task)

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()


def _print(verdict: Verdict) -> None:
    name = f"{verdict.filed.address!s:<8}"
    if verdict.action == "refused":
        hint = f" ({verdict.hint})" if verdict.hint else ""
        typer.secho(f"{name} refused: {harmless(verdict.reason)}{harmless(hint)}", fg=typer.colors.YELLOW)
        return
    typer.echo(f"{name} {_WORDS[verdict.action]} {harmless(verdict.to)}".rstrip())
    if verdict.record is not None:
        typer.echo(harmless(_record_text(verdict.record)))


def _record_text(record: Record) -> str:
    lines = [f"  key     {readable(record.key, pretty=False) if record.key is not None else '(none)'}"]
    lines += [f"  header  {name}: {readable(value, pretty=False)}" for name, value in record.headers]
    lines += ["  " + line for line in readable(record.value or b"")[:MAX_SHOWN].splitlines()]
    return "\n".join(lines)


def _plain(verdict: Verdict) -> dict[str, Any]:
    plain = verdict.plain()
    if (record := verdict.record) is not None:
        plain["record"] = {
            "topic": record.topic,
            "partition": record.partition,
            "key_base64": None if record.key is None else b64encode(record.key).decode(),
            "headers": [[name, b64encode(value).decode()] for name, value in record.headers],
            "value_base64": None if record.value is None else b64encode(record.value).decode(),
        }
    return plain

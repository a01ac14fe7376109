"""What came of the cases: lines as pytest has them, and JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer

from headrace.console.testing.driver import START_MS
from headrace.console.testing.expectations import Miss
from headrace.console.testing.runner import CaseRun

ONE_LINE_EACH = 60
"""With more cases than this, a passing case is a dot."""
DOTS = 60


class Progress:
    """Tells of each case as it ends.

    Args:
        total: cases in all.
        write: takes text, with its line breaks.
    """

    def __init__(self, total: int, write: Callable[[str], object]) -> None:
        self._total, self._write = total, write
        self._done = self._column = 0

    def ended(self, run: CaseRun) -> None:
        """Tell of one case."""
        self._done += 1
        share = typer.style(f"[{100 * self._done // self._total:3}%]", dim=True)
        verdict = _green("PASSED") if run.passed else _red("FAILED")
        if self._total <= ONE_LINE_EACH:
            self._write(f"{run.name} {verdict} {share}\n")
            return
        if run.passed:
            self._write(_green("."))
            self._column += 1
        if not run.passed:
            self._write(("\n" if self._column else "") + f"{run.name} {verdict} {share}\n")
            self._column = 0
        elif self._column == DOTS or self._done == self._total:
            self._write(f" {share}\n")
            self._column = 0


def failure_lines(run: CaseRun, seed: int) -> Iterator[str]:
    """Yield what is wrong with a case: what was expected, what came, and where it is written."""
    yield _red(f"──── {run.name}", bold=True)
    yield f"{run.file.path}:{run.line}: case {run.case.number + 1}, seed {seed}; {how(run)}"
    for miss in run.misses:
        yield ""
        yield f"{run.file.path}:{miss.line}: {typer.style(miss.what, bold=True)}"
        yield from _miss_lines(miss)
    if run.unused:
        lines = ", ".join(map(str, run.unused))
        yield ""
        yield typer.style(f"note: answers that no call took, line {lines}", dim=True)
    yield ""


def _miss_lines(miss: Miss) -> Iterator[str]:
    if miss.diff:
        for line in miss.diff:
            yield "    " + (_green(line) if line.startswith("-") else _red(line) if line.startswith("+") else line)
        return
    for word, text, paint in (("expected", miss.expected, _green), ("came", miss.came, _red)):
        for number, line in enumerate(text.splitlines() or [text]):
            if text or word == "came":
                yield f"    {word + ':' if number == 0 else '':<10}{paint(line)}"


def how(run: CaseRun) -> str:
    """Return how a job went, in a few words."""
    outcome = run.played.outcome
    if outcome is None:
        return "no outcome"
    virtual = (run.played.ended_ms - START_MS) / 1_000
    return (
        f"{outcome.status.value}, {outcome.receipt.tasks} tasks, {len(run.played.calls)} calls, "
        f"${outcome.receipt.cost_microusd / 1e6:.6f}, {virtual:g} s of virtual time"
    )


def summary_line(runs: Sequence[CaseRun], seed: int, seconds: float) -> str:
    """Return the last line."""
    failed = sum(not run.passed for run in runs)
    passed = len(runs) - failed
    counts = [f"{failed} failed"] * bool(failed) + [f"{passed} passed"] * bool(passed)
    text = f"{', '.join(counts)} in {seconds:.2f} s (seed {seed})"
    return _red(text, bold=True) if failed else _green(text, bold=True)


def plain(runs: Sequence[CaseRun], seed: int, seconds: float) -> dict[str, Any]:
    """Return everything as JSON: docs/cli.md has the form."""
    failed = sum(not run.passed for run in runs)
    return {
        "seed": seed,
        "passed": len(runs) - failed,
        "failed": failed,
        "seconds": round(seconds, 3),
        "cases": [_plain_case(run) for run in runs],
    }


def _plain_case(run: CaseRun) -> dict[str, Any]:
    outcome, calls = run.played.outcome, run.played.calls
    return {
        "file": str(run.file.path),
        "line": run.line,
        "workflow": run.file.graph.ref,
        "name": run.case.spec.name,
        "passed": run.passed,
        "status": outcome.status.value if outcome else None,
        "reason": outcome.reason.value if outcome and outcome.reason else None,
        "message": outcome.message if outcome else run.played.stuck,
        "output": run.output,
        "receipt": outcome.receipt.model_dump(mode="json") if outcome else None,
        "calls": [
            {"step": task.step, "task_id": task.task_id, "attempt": task.attempt, "pool": task.pool} for task in calls
        ],
        "events": [event.model_dump(mode="json") for event in run.played.events],
        "virtual_ms": run.played.ended_ms - START_MS,
        "failures": [
            {"what": miss.what, "line": miss.line, "expected": miss.expected, "came": miss.came} for miss in run.misses
        ],
        "unused_answers": run.unused,
    }


def _green(text: str, *, bold: bool = False) -> str:
    return typer.style(text, fg=typer.colors.GREEN, bold=bold)


def _red(text: str, *, bold: bool = False) -> str:
    return typer.style(text, fg=typer.colors.RED, bold=bold)

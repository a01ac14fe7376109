"""``headrace workflow test``: runs the cases that stand beside workflows, without Kafka and without waiting."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from headrace.console.testing.files import Case, TestFile, load_tests, tests_of
from headrace.console.testing.report import Progress, failure_lines, plain, summary_line
from headrace.console.testing.runner import CaseRun, run_case
from headrace.orchestrator.core.catalogue import FileProblem
from headrace.orchestrator.core.problems import suggestion
from headrace.runtime.pools import load_pools
from headrace.schemas.errors import ConfigError


def run_cases(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Workflows, test files, or folders with test files below them."),
    ],
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same outcome and same events.")] = 0,
    pools: Annotated[
        Path | None, typer.Option("--pools", help="Pools file with prices; goes before the test file's own.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object on stdout, in the format of docs/cli.md.")
    ] = False,
    only: Annotated[str | None, typer.Option("-k", metavar="NAME", help="Only cases with this in FILE::CASE.")] = None,
) -> None:
    """Run the cases of NAME.tests.yaml beside NAME.yaml: scripted answers, virtual time, no Kafka.

    The seed draws how long calls take, in what order their answers come, and the jitter of retries.

    Exit codes: 0 all passed; 1 a case failed; 2 a file has problems (all are listed), or no case has that name.
    """
    chosen = _chosen(_load(files, pools), only)
    started = time.monotonic()
    progress = Progress(len(chosen), lambda text: typer.echo(text, nl=False, err=as_json))
    runs: list[CaseRun] = []
    for file, case in chosen:
        runs.append(run_case(file, case, seed))
        progress.ended(runs[-1])
    seconds = time.monotonic() - started
    if as_json:
        typer.echo(json.dumps(plain(runs, seed, seconds), ensure_ascii=False))
    else:
        _print(runs, seed, seconds)
    raise typer.Exit(0 if all(run.passed for run in runs) else 1)


def _load(paths: Sequence[Path], pools: Path | None) -> list[TestFile]:
    """Read every file; where one has problems, list those of all and exit with 2."""
    known = load_pools(pools) if pools is not None else None
    files: list[TestFile] = []
    problems: list[FileProblem] = []
    for tests in dict.fromkeys(found for path in paths for found in tests_of(path)):
        file, wrong = load_tests(tests, known)
        files += [file] if file is not None else []
        problems += wrong
    if problems:
        for problem in dict.fromkeys(map(str, problems)):
            typer.echo(problem, err=True)
        count = len(set(map(str, problems)))
        typer.echo(f"{count} problem{'s' if count > 1 else ''}; no case was run", err=True)
        raise typer.Exit(2)
    return files


def _chosen(files: Sequence[TestFile], only: str | None) -> list[tuple[TestFile, Case]]:
    every = [(file, case) for file in files for case in file.cases]
    chosen = [(file, case) for file, case in every if only is None or only in f"{file.path}::{case.spec.name}"]
    if not chosen:
        names = [case.spec.name for _, case in every]
        raise ConfigError(f"no case has {only!r} in its name{suggestion(only or '', names)}")
    return chosen


def _print(runs: Sequence[CaseRun], seed: int, seconds: float) -> None:
    for run in runs:
        if not run.passed:
            typer.echo()
            typer.echo("\n".join(failure_lines(run, seed)), nl=False)
    typer.echo()
    typer.echo(summary_line(runs, seed, seconds))

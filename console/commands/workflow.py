"""``headrace workflow``: check and show workflows, without Kafka."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from headrace.console.commands.workflow_test import run_cases
from headrace.console.graph_svg import svg_of
from headrace.console.step_words import describe
from headrace.console.testing.files import is_tests, load_tests, tests_beside
from headrace.orchestrator.core.catalogue import FileProblem, check_text
from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.workflow_text import MAX_TEXT_BYTES
from headrace.schemas.errors import ConfigError, Problem
from headrace.schemas.pools import PoolsFile
from headrace.schemas.workflow import language_schema
from headrace.schemas.workflow_tests import schema_of_tests

app = typer.Typer(name="workflow", help="Check, test and show workflows.", no_args_is_help=True)
app.command(name="test")(run_cases)

PoolsOption = Annotated[
    Path | None, typer.Option("--pools", help="Pools file; without it, the names of pools are not checked.")
]


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Workflow files, or test files.")],
    pools: PoolsOption = None,
) -> None:
    """Check workflows as a whole, and the tests beside them: every problem at once, as file:line; then exit code 2."""
    known = _pools(pools)
    found: list[FileProblem] = []
    for file in files:
        if is_tests(file):
            found += _check_tests(file, known)
            continue
        graph, wrong = _compile(file, known)
        found += wrong
        if graph is not None:
            typer.echo(f"{file}: {graph.ref} holds: {len(graph.steps)} steps, sha256 {graph.sha256[:12]}")
        if (tests := tests_beside(file)) is not None:
            found += _check_tests(tests, known)
    problems = list(dict.fromkeys(map(str, found)))  # A workflow and its tests may report the same.
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        typer.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
        raise typer.Exit(2)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A workflow file.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Write a Mermaid flow chart.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="Write a picture.")] = False,
    pools: PoolsOption = None,
) -> None:
    """Show the graph that a workflow compiles to: as a tree of text, as Mermaid, or as an SVG picture."""
    if mermaid and svg:
        raise typer.BadParameter("--mermaid and --svg do not go together")
    graph, problems = _compile(file, _pools(pools))
    if graph is None:
        typer.echo("\n".join(map(str, problems)), err=True)
        raise typer.Exit(2)
    if mermaid:
        typer.echo(mermaid_of(graph))
    elif svg:
        typer.echo(svg_of(graph, describe), nl=False)
    else:
        Console().print(tree_of(graph))


@app.command()
def schema(
    tests: Annotated[bool, typer.Option("--tests", help="Of test files, in place of workflows.")] = False,
) -> None:
    """Write the JSON Schema of the language, for editors."""
    typer.echo(json.dumps(schema_of_tests() if tests else language_schema(), indent=2))


def tree_of(graph: Graph) -> Tree:
    """Return the steps as a tree of text, in the order in which they can run."""
    tree = Tree(Text(graph.ref, style="bold"))
    for step in graph.steps:
        needs = f"  <- {', '.join(step.needs)}" if step.needs else ""
        branch = tree.add(Text.assemble((step.name, "bold"), f"  {describe(step)}{needs}"))
        if step.model_pools:
            pools = ", ".join(step.model_pools)
            branch.add(Text(f"pool {pools}, template {step.template_hash}", style="dim"))
    tree.add(Text(f"output  <- {', '.join(graph.output_needs) or 'input'}"))
    return tree


def mermaid_of(graph: Graph) -> str:
    """Return the graph as a Mermaid flow chart."""
    lines = ["flowchart TD", '  input_(["input"])']
    for step in graph.steps:
        lines.append(f'  s_{step.name}["{step.name}<br/>{describe(step)}"]')
        lines += [f"  s_{need} --> s_{step.name}" for need in step.needs] or [f"  input_ --> s_{step.name}"]
    lines.append('  output_(["output"])')
    lines += [f"  s_{need} --> output_" for need in graph.output_needs] or ["  input_ --> output_"]
    return "\n".join(lines)


def _compile(file: Path, pools: PoolsFile | None) -> tuple[Graph | None, list[FileProblem]]:
    try:
        text = _read(file)
    except ConfigError as error:
        return None, [FileProblem(str(file), Problem("file", error.message))]
    if pools is None:
        return check_text(str(file), text, pools=None)
    return check_text(str(file), text, pools=pools.pools, tools=pools.tools, public_pools=pools.public_pools)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_TEXT_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8") from None


def _check_tests(file: Path, pools: PoolsFile | None) -> list[FileProblem]:
    tests, problems = load_tests(file, pools)
    if tests is not None:
        typer.echo(f"{file}: {len(tests.cases)} case{'s' if len(tests.cases) > 1 else ''} of {tests.graph.ref} hold")
    return problems


def _pools(file: Path | None) -> PoolsFile | None:
    if file is None:
        return None
    try:
        return PoolsFile.model_validate(yaml.safe_load(_read(file)))
    except (ConfigError, yaml.YAMLError, ValidationError) as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(2) from None

"""Test files: found beside their workflows, read with the line of each part, and checked as a whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.console.testing.checks import check_tests
from headrace.orchestrator.core.catalogue import FileProblem, check_text
from headrace.orchestrator.core.graph import Graph
from headrace.orchestrator.core.problems import Problems
from headrace.orchestrator.core.workflow_text import MAX_TEXT_BYTES, read_workflow
from headrace.runtime.pools import load_pools
from headrace.schemas.errors import ConfigError, Problem
from headrace.schemas.pools import PoolsFile
from headrace.schemas.submission import MAX_JOB_BYTES
from headrace.schemas.workflow_files import TESTS_SUFFIXES
from headrace.schemas.workflow_tests import CaseSpec, RuleSpec, WorkflowTests


@dataclass(frozen=True, slots=True)
class Case:
    """A case, ready to be played."""

    spec: CaseSpec
    number: int
    """Its place in the file, from 0."""
    input: dict[str, Any]
    rules: tuple[RuleSpec, ...]
    """Its own, then those of the file."""


@dataclass(frozen=True, slots=True)
class TestFile:
    """A test file that holds."""

    __test__ = False  # It is no test of ours.

    path: Path
    workflow: Path
    graph: Graph
    pools: PoolsFile | None
    """None: every pool that is named is there, and costs nothing."""
    nested: tuple[Graph, ...]
    """The workflows that it nests."""
    cases: tuple[Case, ...]
    lines: Mapping[str, int] = field(repr=False)
    """The line of each path."""

    def line(self, path: str) -> int:
        """Return the line of a part of the file, or of the nearest part around it that has one."""
        while path not in self.lines and path:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)


def is_tests(path: Path) -> bool:
    """Return whether a file is one of tests, by its name."""
    return path.name.endswith(TESTS_SUFFIXES)


def tests_beside(workflow: Path) -> Path | None:
    """Return the test file of a workflow, or None where it has none."""
    stem = workflow.name.removesuffix(workflow.suffix)
    return next((path for suffix in TESTS_SUFFIXES if (path := workflow.with_name(stem + suffix)).is_file()), None)


def tests_of(path: Path) -> list[Path]:
    """Return the test files that a path on the command line means: itself, the one beside it, or all below a folder.

    Raises:
        ConfigError: there are none.
    """
    if path.is_dir():
        if found := sorted(file for suffix in TESTS_SUFFIXES for file in path.rglob(f"*{suffix}") if file.is_file()):
            return found
        raise ConfigError(f"{path}: no test files below it", f"they end in {TESTS_SUFFIXES[0]}")
    if is_tests(path):
        return [path]
    if not path.exists():
        raise ConfigError(f"{path} is not there", "name workflows, test files, or a folder with test files below it")
    if (beside := tests_beside(path)) is not None:
        return [beside]
    wanted = path.name.removesuffix(path.suffix) + TESTS_SUFFIXES[0]
    raise ConfigError(f"{path}: no tests beside it", f"write {wanted}: see docs/workflows.md, Test a workflow")


def load_tests(path: Path, pools: PoolsFile | None) -> tuple[TestFile | None, list[FileProblem]]:
    """Read a test file and its workflow.

    Args:
        pools: of the command line; they go before those that the file names.

    Returns:
        The file, or every problem of it and of its workflow.
    """
    name = str(path)
    try:
        read = read_workflow(read_text(path))
    except ConfigError as error:
        return None, [FileProblem(name, Problem("file", error.message, 1))]
    problems = Problems(read.lines, list(read.problems))
    tests = None if problems.found else _tests(read.document, problems)
    if tests is None:
        return None, _listed(name, problems)
    if pools is None and tests.pools is not None:
        pools = _pools(path.parent / tests.pools, problems)
    workflow = path.parent / tests.workflow if tests.workflow is not None else _named_after(path)
    place = "workflow" if tests.workflow is not None else "file"
    graph, wrong = _graph(workflow, place, pools, problems)
    nested = []
    for number, below in enumerate(tests.nested):
        found, problems_below = _graph(path.parent / below, f"nested.{number}", pools, problems)
        nested += [found] if found is not None else []
        wrong += problems_below
    cases = _cases(path.parent, tests, problems)
    if graph is not None:
        steps = tuple(step.name for each in (graph, *nested) for step in each.steps)
        check_tests(tests, steps, pools.pools if pools is not None else None, problems)
    wrong += _listed(name, problems)
    if wrong or graph is None:
        return None, wrong
    return TestFile(path, workflow, graph, pools, tuple(nested), cases, read.lines), []


def _tests(document: Any, problems: Problems) -> WorkflowTests | None:
    if not isinstance(document, dict):
        problems.add("file", "a test file is a mapping with the key 'cases'")
        return None
    try:
        return WorkflowTests.model_validate(document)
    except ValidationError as error:
        problems.add_findings("", WorkflowTests, error)
        return _without(document, error)


def _without(document: dict[str, Any], error: ValidationError) -> WorkflowTests | None:
    """Return a test file without its wrong parts, so that what else is wrong is found in the same go.

    Only where they can be left out: what is missing would be reported twice.
    """
    rest = copy.deepcopy(document)
    for finding in error.errors(include_url=False, include_input=False, include_context=False):
        inner: Any = rest
        *above, last = finding["loc"]
        for part in above:
            is_there = part in inner if isinstance(inner, dict) else isinstance(inner, list) and isinstance(part, int)
            inner = inner[part] if is_there else None
        if not isinstance(inner, dict) or inner.pop(last, inner) is inner:
            return None
    try:
        return WorkflowTests.model_validate(rest)
    except ValidationError:
        return None


def _listed(name: str, problems: Problems) -> list[FileProblem]:
    return [FileProblem(name, problem) for problem in sorted(problems.found, key=lambda problem: problem.line or 0)]


def _named_after(path: Path) -> Path:
    """Return the workflow that a test file is named after."""
    suffix = next(suffix for suffix in (*TESTS_SUFFIXES, path.suffix) if path.name.endswith(suffix))
    stem = path.name.removesuffix(suffix)
    return next(
        (file for end in (".yaml", ".yml") if (file := path.with_name(stem + end)).is_file()),
        path.with_name(f"{stem}.yaml"),
    )


def _graph(
    workflow: Path, place: str, pools: PoolsFile | None, problems: Problems
) -> tuple[Graph | None, list[FileProblem]]:
    try:
        text = read_text(workflow)
    except ConfigError as error:
        hint = "; the key 'workflow' may name another file" if place == "file" else ""
        problems.add(place, f"its workflow {workflow} {error.message}{hint}")
        return None, []
    if pools is None:
        return check_text(str(workflow), text, pools=None)
    return check_text(str(workflow), text, pools=pools.pools, tools=pools.tools, public_pools=pools.public_pools)


def _pools(path: Path, problems: Problems) -> PoolsFile | None:
    try:
        return load_pools(path)
    except ConfigError as error:
        problems.add("pools", error.message)
        return None


def _cases(folder: Path, tests: WorkflowTests, problems: Problems) -> tuple[Case, ...]:
    cases = []
    for number, spec in enumerate(tests.cases):
        value: Any = spec.input
        if spec.input_file is not None:
            value = _input(folder / spec.input_file, f"cases.{number}.input_file", problems)
        cases.append(Case(spec, number, value, (*spec.answers, *tests.answers)))
    return tuple(cases)


def _input(path: Path, place: str, problems: Problems) -> dict[str, Any]:
    try:
        text = read_text(path, MAX_JOB_BYTES)
    except ConfigError as error:
        problems.add(place, f"{path} {error.message}")
        return {}
    if path.suffix in (".yaml", ".yml"):
        read = read_workflow(text)
        value, wrong = read.document, "; ".join(map(str, read.problems))
    else:
        value, wrong = _json(text)
    if wrong or not isinstance(value, dict):
        problems.add(place, f"{path}: {wrong or 'an input is a mapping'}")
        return {}
    return value


def _json(text: str) -> tuple[Any, str]:
    try:
        return json.loads(text), ""
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"[:200]


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a file; at most a little more than the limit is read.

    Raises:
        ConfigError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise ConfigError(f"has more than {most:,} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8") from None

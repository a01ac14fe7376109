"""The workflows that an orchestrator knows by name. Pure: texts go in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.nested_admission import NestingInvalid, nested_graphs, public_calls
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.workflow_ref import parse_workflow_ref
from headrace.orchestrator.core.workflow_text import read_workflow
from headrace.schemas.errors import ConfigError, HeadraceError, Problem, WorkflowInvalid
from headrace.schemas.pools import Pool
from headrace.schemas.tools import ToolSpec


class UnknownWorkflow(HeadraceError):
    """A workflow that is not in the catalogue."""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One problem of one file."""

    file: str
    """The file, as it was named."""
    problem: Problem
    """What is wrong."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.problem.line}" if self.problem.line else self.file
        return f"{place}: {self.problem.path}: {self.problem.message}"


class WorkflowsInvalid(ConfigError):
    """Files of workflows with everything that is wrong in any of them."""

    def __init__(self, problems: list[FileProblem]) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(f"{count} in the workflows:\n" + "\n".join(map(str, problems)), "nothing was loaded")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class WorkflowCatalogue:
    """Compiled workflows by name and version."""

    graphs: Mapping[str, Mapping[int, Graph]] = field(default_factory=dict)
    """By name, then by version, the versions ascending."""

    def resolve_graph(self, ref: str, job_id: str = "") -> Graph:
        """Return a workflow; where the reference names no version, the one that is this job's turn.

        That is the newest version, unless it is on trial (`share`): then it gets its share of the jobs, and the others
        the newest version before it, by the same rule. A job's id decides, so that a repeat goes the same way.

        Args:
            job_id: the job; without one the newest version that is not on trial.

        Raises:
            DecodeError: the reference is not ``name@version``.
            UnknownWorkflow: there is none; the message lists what there is.
        """
        wanted = parse_workflow_ref(ref)
        versions = self.graphs.get(wanted.name)
        if not versions:
            raise UnknownWorkflow(f"unknown workflow {wanted.name!r}{suggestion(wanted.name, self.graphs)}")
        version = _turn(versions, job_id) if wanted.version is None else wanted.version
        if version not in versions:
            known = ", ".join(map(str, versions))
            raise UnknownWorkflow(f"workflow {wanted.name!r} has no version {version} (versions: {known})")
        return versions[version]

    def resolve(self, ref: str, job_id: str = "") -> dict[str, Any]:
        """Return a workflow's document; as `resolve_graph`."""
        return self.resolve_graph(ref, job_id).document()

    def refs(self) -> tuple[str, ...]:
        """Return ``name@version`` of all, sorted by name and version."""
        return tuple(graph.ref for name in sorted(self.graphs) for graph in self.graphs[name].values())


def _turn(versions: Mapping[int, Graph], job_id: str) -> int:
    """Return the version that a job gets. Where all are on trial, the oldest takes what the others leave."""
    descending = sorted(versions, reverse=True)
    for version in descending[:-1]:
        graph = versions[version]
        if graph.share is None or (job_id and _drawn(graph.ref, job_id) < graph.share):
            return version
    return descending[-1]


def _drawn(ref: str, job_id: str) -> float:
    """Return a number in [0, 1) that a version and a job always have in common."""
    digest = hashlib.sha256(f"{ref}/{job_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def check_text(
    file: str,
    text: str,
    *,
    pools: Mapping[str, Pool] | None,
    tools: Mapping[str, ToolSpec] | None = None,
    public_pools: Collection[str] = (),
) -> tuple[Graph | None, list[FileProblem]]:
    """Compile one file; returns the graph, or every problem of the file."""
    read = read_workflow(text)
    problems = list(read.problems)
    if not problems:
        try:
            graph = compile_workflow(
                read.document, pools=pools, tools=tools, public_pools=public_pools, lines=read.lines
            )
            return graph, []
        except WorkflowInvalid as error:
            problems = error.problems
    return None, [FileProblem(file, problem) for problem in problems]


def build_catalogue(
    texts: Iterable[tuple[str, str]],
    *,
    pools: Mapping[str, Pool] | None,
    tools: Mapping[str, ToolSpec] | None = None,
    public_pools: Collection[str] = (),
) -> WorkflowCatalogue:
    """Compile files into a catalogue.

    Args:
        texts: pairs of the file's name and its text.
        pools: the pools there are.
        tools: the tools there are.
        public_pools: the pools of public endpoints.

    Raises:
        WorkflowsInvalid: with every problem of every file; nothing half-loads.
    """
    found: dict[str, dict[int, Graph]] = {}
    files: dict[str, str] = {}
    problems: list[FileProblem] = []
    for file, text in texts:
        graph, wrong = check_text(file, text, pools=pools, tools=tools, public_pools=public_pools)
        problems += wrong
        if graph is None:
            continue
        if graph.ref in files and found[graph.name][graph.version].sha256 != graph.sha256:
            message = f"{graph.ref} stands in {files[graph.ref]} too, with another text; raise the version"
            problems.append(FileProblem(file, Problem("version", message)))
            continue
        files.setdefault(graph.ref, file)
        found.setdefault(graph.name, {})[graph.version] = graph
    catalogue = WorkflowCatalogue({name: dict(sorted(found[name].items())) for name in sorted(found)})
    problems += _nesting_problems(catalogue, files, public_pools)
    if problems:
        raise WorkflowsInvalid(problems)
    return catalogue


def _nesting_problems(
    catalogue: WorkflowCatalogue, files: Mapping[str, str], public_pools: Collection[str]
) -> Iterator[FileProblem]:
    """Look for workflows that nest what is not there, too deeply (as a circle does), or what is not private enough."""

    def find(workflow: str | dict[str, Any]) -> Graph:
        if isinstance(workflow, str):
            return catalogue.resolve_graph(workflow)
        return compile_workflow(workflow, pools=None)

    for ref, file in files.items():
        try:
            below = list(nested_graphs(catalogue.resolve_graph(ref), find))
        except NestingInvalid as error:
            yield FileProblem(file, Problem("steps", error.message))
            continue
        for nested in below:
            if nested.confidential and (used := public_calls(nested.graph, public_pools)):
                message = f"{nested.way} is done for a confidential step and uses {', '.join(used)}, which is public"
                yield FileProblem(file, Problem("steps", message))

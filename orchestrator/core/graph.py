"""A workflow, checked and compiled to one graph of steps. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.orchestrator.core.confidential_fields import marked_fields
from headrace.orchestrator.core.document import Document, read_document
from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.problems import Problems
from headrace.orchestrator.core.scope import Scope
from headrace.orchestrator.core.scripts.saga_plan import SagaPlan
from headrace.orchestrator.core.step_compiler import StepCompiler
from headrace.orchestrator.core.steps import (
    KeyRule,
    LlmPlan,
    MessageTemplate,
    OnError,
    OnErrorMode,
    Require,
    Source,
    SplitPlan,
    Step,
    StepKind,
)
from headrace.orchestrator.core.taint import check_public, taint_of
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import WorkflowInvalid
from headrace.schemas.pools import Pool
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow_nesting import MAX_DEPTH

MAX_WORKFLOW_BYTES = 262_144
"""Of the canonical text: it is one record on ``state``, and larger texts belong into the input."""

__all__ = [
    "Graph",
    "KeyRule",
    "LlmPlan",
    "MessageTemplate",
    "OnError",
    "OnErrorMode",
    "Require",
    "Source",
    "SplitPlan",
    "Step",
    "StepKind",
    "compile_workflow",
]


@dataclass(slots=True)
class Within:
    """What workflows that are written out in another share with it."""

    depth: int = 0
    """How many stand around it."""
    templates: int = 0
    """How many templates were compiled: they are counted together."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A compiled workflow."""

    name: str
    """The workflow's name."""
    version: int
    """The workflow's version."""
    sha256: str
    """Of `canonical`; the key of the stored text."""
    canonical: bytes
    """The document as canonical JSON: compiling it again gives this graph."""
    steps: tuple[Step, ...]
    """In topological order; steps that do not depend on each other stand as the author wrote them."""
    output: Any
    """A template, or a structure of templates, for `templates.evaluate_structure`."""
    output_needs: tuple[str, ...]
    """The steps that the output references."""
    input_schema: dict[str, Any]
    """JSON Schema of the input; empty where anything goes."""
    share: float | None
    """The share of a version on trial; None where it is none."""
    _by_name: dict[str, Step] = field(repr=False, compare=False)
    _consumers: dict[str, tuple[str, ...]] = field(repr=False, compare=False)
    _widest: int = 0
    nests: bool = False
    """Whether a step is another workflow."""
    undoes: bool = False
    """Whether a step is a saga."""
    in_turn: tuple[str, ...] = ()
    """The steps with ``key: session``."""
    yields_confidential: bool = False
    """Whether its output names what is confidential."""
    _waits: dict[str, Step] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def widest(self) -> int:
        """The largest window that a step asks for; 0 where none does."""
        return self._widest

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that steps wait for."""
        return tuple(self._waits)

    def waiting_for(self, signal: str) -> Step | None:
        """Return the step that waits for a signal, or None."""
        return self._waits.get(signal)

    def document(self) -> dict[str, Any]:
        """Return the workflow as it was written; a copy."""
        document: dict[str, Any] = json.loads(self.canonical)
        return document

    def step(self, name: str) -> Step:
        """Return a step by name; a KeyError is our own bug."""
        return self._by_name[name]

    def consumers(self, name: str) -> tuple[str, ...]:
        """Return the steps that need a step, in topological order."""
        return self._consumers[name]


def compile_workflow(
    document: Mapping[str, Any],
    *,
    pools: Mapping[str, Pool] | None,
    tools: Mapping[str, ToolSpec] | None = None,
    public_pools: Collection[str] = (),
    lines: Mapping[str, int] | None = None,
    within: Within | None = None,
) -> Graph:
    """Check a workflow as a whole and compile it.

    Args:
        document: the workflow, as read from YAML or JSON.
        pools: the pools there are; None leaves them unchecked (a console without a pools file).
        tools: the tools there are; None leaves them unchecked.
        public_pools: the pools of public endpoints: nothing confidential goes there.
        lines: the line of each path of the document, for the problems.
        within: what it has in common with the workflow that it is written out in.

    Raises:
        WorkflowInvalid: with every problem that was found.
    """
    problems = Problems(lines or {})
    canonical = _canonical(document, problems)
    name = _name_of(document)
    if problems.found:
        raise WorkflowInvalid(name, problems.found)
    read = read_document(document, problems)
    within = within or Within()
    scope = Scope(tuple(read.raw_steps), problems, within.templates)

    def inline(path: str, written: dict[str, Any]) -> Graph | None:
        if within.depth == MAX_DEPTH:
            problems.add(path, f"workflows nest deeper than {MAX_DEPTH}")
            return None
        below = Within(within.depth + 1, scope.templates)
        try:
            return compile_workflow(written, pools=pools, tools=tools, public_pools=public_pools, within=below)
        except WorkflowInvalid as error:
            for problem in error.problems:
                problems.add(f"{path}.{problem.path}", problem.message)
            return None
        finally:
            scope.templates = below.templates

    steps, needs = _compile_steps(read, StepCompiler(scope, pools, tools, inline))
    output = read.output if read.output is not None else _last_step(read)
    output_needs = scope.structure("output", output)
    within.templates = scope.templates
    order = _order(tuple(steps), needs, problems)
    _check_sources(steps, problems)
    _check_signals(steps, problems)
    ordered = [steps[step] for step in order]
    marked = marked_fields(read.input_schema, problems)
    taint = taint_of(ordered, scope.reads, marked, whole=read.confidential)
    if pools is not None:
        check_public(ordered, taint, problems, public=public_pools, pools=pools)
    if problems.found:
        raise WorkflowInvalid(name, problems.found)
    yields = taint.reason([each for each in scope.reads if each.path.partition(".")[0] == "output"])
    graph = _graph(
        read,
        canonical,
        [replace(step, confidential=step.name in taint.why) for step in ordered] if taint.why else ordered,
        needs=needs,
        output=output,
        output_needs=output_needs,
    )
    return graph if yields is None else replace(graph, yields_confidential=True)


def _canonical(document: Any, problems: Problems) -> bytes:
    """Return the document's canonical text; one that is no JSON is looked at no further."""
    if not isinstance(document, Mapping):
        problems.add("", f"a workflow is a mapping, not a {type(document).__name__}")
        return b""
    document = dict(document)
    if found := json_problem(document):
        problems.add(*found)
        return b""
    canonical = canonical_json(document)
    if len(canonical) > MAX_WORKFLOW_BYTES:
        problems.add("", f"it has {len(canonical):,} bytes; the limit is {MAX_WORKFLOW_BYTES:,}")
    return canonical


def _name_of(document: Any) -> str:
    name = document.get("name") if isinstance(document, Mapping) else None
    return name[:100] if isinstance(name, str) else "(no name)"


def _compile_steps(read: Document, compiler: StepCompiler) -> tuple[dict[str, Step], dict[str, tuple[str, ...]]]:
    steps: dict[str, Step] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for name, spec in read.specs.items():
        step, needed = compiler.compile(name, spec, read.raw_steps[name])
        if step is not None:
            steps[name], needs[name] = step, needed
    return steps, needs


def _last_step(read: Document) -> Any:
    names = list(read.raw_steps)
    return f"{{{{ {names[-1]} }}}}" if names and names[-1].isidentifier() else None


def _order(names: tuple[str, ...], needs: Mapping[str, tuple[str, ...]], problems: Problems) -> list[str]:
    """Return the steps so that each stands behind what it needs, else as written; cycles are problems.

    Steps that did not compile are taken as done: their own problems are noted already.
    """
    order: list[str] = []
    done = dict.fromkeys(names, False)
    waiting = list(names)
    while waiting:
        ready = next((name for name in waiting if all(done.get(need, True) for need in needs[name])), None)
        if ready is None:
            cycle = _cycle(waiting, needs, done)
            problems.add(f"steps.{cycle[0]}", f"a cycle: {' needs '.join(cycle)}")
            ready = cycle[0]  # Taken as done, so that further cycles are found too.
        waiting.remove(ready)
        done[ready] = True
        order.append(ready)
    return order


def _cycle(waiting: list[str], needs: Mapping[str, tuple[str, ...]], done: Mapping[str, bool]) -> list[str]:
    """Return one cycle, its first name repeated at the end: every waiting step needs another that waits."""
    walked: list[str] = []
    name = waiting[0]
    while name not in walked:
        walked.append(name)
        name = next(need for need in needs[name] if not done.get(need, True))
    return [*walked[walked.index(name) :], name]


def _check_sources(steps: Mapping[str, Step], problems: Problems) -> None:
    for step in steps.values():
        source = step.source.step if step.source else None
        if source is not None and source in steps and not _may_be_list(steps[source]):
            problems.add(
                f"steps.{step.name}.{step.kind}",
                f"step {source!r} does not yield a list; use a split, a for_each, or an output schema of type array",
            )


def _check_signals(steps: Mapping[str, Step], problems: Problems) -> None:
    """A signal is kept for one step: two that waited for the same would have to share it."""
    found: dict[str, str] = {}
    for step in steps.values():
        if step.wait is None:
            continue
        first = found.setdefault(step.wait.signal, step.name)
        if first != step.name:
            message = f"step {first!r} waits for {step.wait.signal!r} already: give each wait a name of its own"
            problems.add(f"steps.{step.name}.wait.signal", message)


def _may_be_list(step: Step) -> bool:
    if step.nested is not None:
        return True  # What it comes to is known when it runs; the engine looks again.
    if step.wait is not None:
        return _may_give_list(step.wait.schema)
    if step.yields_list or step.reducer in ("concat", "majority"):
        return True
    return any(_may_give_list(call.output_schema) for call in step.calls)


def _may_give_list(schema: dict[str, Any] | None) -> bool:
    if schema is None:
        return False
    kinds = schema.get("type", "array")  # A schema without a type may be anything; the engine looks again.
    return kinds == "array" or (isinstance(kinds, list) and "array" in kinds)


def _graph(
    read: Document,
    canonical: bytes,
    ordered: list[Step],
    *,
    needs: Mapping[str, tuple[str, ...]],
    output: Any,
    output_needs: tuple[str, ...],
) -> Graph:
    names = [step.name for step in ordered]
    steps = tuple(replace(step, needs=tuple(name for name in names if name in needs[step.name])) for step in ordered)
    return Graph(
        name=read.name,
        version=read.version,
        sha256=hashlib.sha256(canonical).hexdigest(),
        canonical=canonical,
        steps=steps,
        output=output,
        output_needs=tuple(name for name in names if name in output_needs),
        input_schema=read.input_schema,
        share=read.share,
        _by_name={step.name: step for step in steps},
        _consumers={name: tuple(step.name for step in steps if name in step.needs) for name in names},
        nests=any(step.nested is not None for step in steps),
        in_turn=tuple(step.name for step in steps if step.key is KeyRule.SESSION),
        undoes=any(isinstance(step.script, SagaPlan) for step in steps),
        _waits={step.wait.signal: step for step in steps if step.wait is not None},
        _widest=max((step.max_in_flight or 0 for step in steps), default=0),
    )

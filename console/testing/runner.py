"""One case from its file to what came of it. Pure: the file is read, and virtual time begins always the same."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.console.testing.answering import Answerer
from headrace.console.testing.driver import JOB_ID, START_MS, TURN_ID, Draws, Driver, Objects, Played
from headrace.console.testing.expectations import Miss, misses
from headrace.console.testing.files import Case, TestFile
from headrace.console.testing.script import Script
from headrace.orchestrator.core.events import Signalled
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.split import count_chars4
from headrace.orchestrator.core.view import Environment, Limits
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import Submission
from headrace.schemas.pools import Pool
from headrace.schemas.workflow_tests import JobFields


@dataclass(slots=True)
class CaseRun:
    """What came of a case."""

    file: TestFile
    case: Case
    played: Played
    output: Any = None
    """The job's output, also where it lies in the object store."""
    misses: list[Miss] = field(default_factory=list)
    """Expectations that do not hold; none: the case passed."""
    unused: list[int] = field(default_factory=list)
    """Lines of rules that answered no call: often a typing error."""

    @property
    def passed(self) -> bool:
        """Whether everything is as it was expected."""
        return not self.misses

    @property
    def name(self) -> str:
        """``FILE::CASE``, as it is shown and as ``-k`` searches it."""
        return f"{self.file.path}::{self.case.spec.name}"

    @property
    def line(self) -> int:
        """Where the case begins in its file."""
        return self.file.line(f"cases.{self.case.number}")

    def event_lines(self) -> list[str]:
        """Return the events as JSON, byte for byte the same for the same seed."""
        return [canonical_json(event.model_dump(mode="json")).decode() for event in self.played.events]


class _AnyPool(dict[str, Pool]):
    """Where no pools file is given, every pool is there and costs nothing."""

    def __missing__(self, name: str) -> Pool:
        self[name] = pool = Pool(endpoint="test", model=name)
        return pool


def run_case(file: TestFile, case: Case, seed: int) -> CaseRun:
    """Play a case and hold it to what is expected."""
    pools = file.pools.pools if file.pools is not None else _AnyPool()
    objects, draws, script = Objects(), Draws(seed), Script(case.rules)
    answerer = Answerer(script, pools, draws)
    driver = Driver(_environment(file, pools, objects), objects, answerer.answer, draws)
    run = CaseRun(file, case, Played())
    path = f"cases.{case.number}"
    try:
        spec = case.spec
        signals = [(each.after_ms, Signalled(each.name, each.payload)) for each in spec.signals]
        run.played = driver.play(_submission(file, case), cancel_after_ms=spec.cancel_after_ms, signals=signals)
        run.output = driver.output()
    except Exception as error:  # The orchestrator would end the job as `internal`, and its log would have the cause.
        cause = "".join(traceback.format_exception(error)[-3:]).strip()
        run.misses = [Miss("the engine broke", file.line(path), came=cause)]
        return run
    own = len(case.spec.answers)
    run.unused = [file.line(f"{path}.answers.{number}") for number in script.unused() if number < own]
    run.misses = misses(case.spec.expect, run.played, run.output, lambda place: file.line(f"{path}.expect.{place}"))
    return run


def _environment(file: TestFile, pools: Mapping[str, Pool], objects: Objects) -> Environment:
    public = file.pools.public_pools if file.pools is not None else ()
    compiled = {graph.canonical.decode(): graph for graph in (file.graph, *file.nested)}
    by_ref = {graph.ref: graph for graph in (*file.nested, file.graph)}

    def compile_text(text: str) -> Graph:
        if text in compiled:
            return compiled[text]
        known = (file.pools.pools, file.pools.tools) if file.pools is not None else (None, None)
        return compile_workflow(json.loads(text), pools=known[0], tools=known[1], public_pools=public)

    def resolve(workflow: str | dict[str, Any], _job_id: str) -> dict[str, Any]:
        if isinstance(workflow, dict):
            return workflow
        if workflow not in by_ref:
            message = f"this test has no workflow {workflow[:100]!r}: name its file under 'nested'"
            raise ContractError(message, kind="unknown_workflow")
        return by_ref[workflow].document()

    return Environment(
        pools=pools,
        limits=Limits(),
        resolve=resolve,
        compile=compile_text,
        load=objects.load,
        # The stated rule and not o200k: the same on every machine, whatever extras it has.
        counters={"chars4": count_chars4},
        tokens_rule="chars4",
        public_pools=public,
    )


def _submission(file: TestFile, case: Case) -> Submission:
    job = case.spec.job
    given = {name: getattr(job, name) for name in JobFields.model_fields if name != "deadline_s"}
    if job.deadline_s is not None:
        given["deadline"] = datetime.fromtimestamp(START_MS / 1000, tz=UTC) + timedelta(seconds=job.deadline_s)
    job_id = TURN_ID if file.graph.in_turn else JOB_ID
    return Submission(job_id=job_id, workflow=file.graph.ref, input=case.input, **given)

"""What is wrong with a test file beside its shape: unknown steps, pools and kinds, expressions, schemas. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from headrace.orchestrator.core.json_schema import SchemaInvalid, check_schema
from headrace.orchestrator.core.problems import Problems, suggestion
from headrace.schemas.calls import Result
from headrace.schemas.errors import ErrorKind
from headrace.schemas.outcomes import JobStatus
from headrace.schemas.pools import Pool
from headrace.schemas.workflow_tests import SCRIPTED_KINDS, AnswerSpec, CaseSpec, ExpectSpec, RuleSpec, WorkflowTests

_SCRIPTABLE = tuple(
    name for name in Result.model_fields if name not in ("task_id", "job_id", "attempt", "failure", "output", "usage")
)


def check_tests(
    tests: WorkflowTests, steps: Sequence[str], pools: Mapping[str, Pool] | None, problems: Problems
) -> None:
    """Note every problem of a test file against its workflow.

    Args:
        steps: of the workflow and of those that it nests.
        pools: the pools there are; None where there is no pools file: names of pools are not checked then.
    """
    check = _Check(tuple(dict.fromkeys(steps)), pools, problems)
    check.rules("answers", tests.answers)
    names: dict[str, int] = {}
    for number, case in enumerate(tests.cases):
        path = f"cases.{number}"
        if case.name in names:
            first = problems.lines.get(f"cases.{names[case.name]}", 1)
            problems.add(f"{path}.name", f"the case on line {first} has the same name; each has its own")
        names.setdefault(case.name, number)
        check.case(path, case)


class _Check:
    """Checks against the steps and pools that there are."""

    def __init__(self, steps: tuple[str, ...], pools: Mapping[str, Pool] | None, problems: Problems) -> None:
        self._steps, self._pools, self._problems = steps, pools, problems

    def case(self, path: str, case: CaseSpec) -> None:
        if case.input_file is not None and case.input:
            self._problems.add(f"{path}.input_file", "input and input_file are both given: leave one out")
        self.rules(f"{path}.answers", case.answers)
        self._expect(f"{path}.expect", case.expect)

    def rules(self, path: str, rules: Sequence[RuleSpec]) -> None:
        for number, rule in enumerate(rules):
            self._rule(f"{path}.{number}", rule)

    def _rule(self, path: str, rule: RuleSpec) -> None:
        if rule.step is not None:
            self._known(f"{path}.step", "step", rule.step, self._steps)
        if rule.pool is not None and self._pools is not None:
            self._known(f"{path}.pool", "pool", rule.pool, self._pools)
        if rule.prompt is not None:
            self._expression(f"{path}.prompt", rule.prompt)
        given = [word for word in ("in_order", "attempts") if getattr(rule, word)]
        given += [word for word in ("answer", "error") if word in rule.model_fields_set]
        if len(given) > 1:
            self._problems.add(f"{path}.{given[1]}", f"{given[0]} and {given[1]} are both given: leave one out")
        self._answer(path, rule)
        for word, specs in (("in_order", rule.in_order), ("attempts", rule.attempts)):
            for number, spec in enumerate(specs):
                self._answer(f"{path}.{word}.{number}", spec)

    def _answer(self, path: str, spec: AnswerSpec) -> None:
        if spec.error is not None:
            self._known(f"{path}.error", "error kind", spec.error, [kind.value for kind in SCRIPTED_KINDS])
            if spec.truncated:
                self._problems.add(f"{path}.truncated", "a call that fails has no answer to truncate")
            if spec.tool_calls:
                self._problems.add(f"{path}.tool_calls", "a call that fails asks for no tools")
            if not isinstance(spec, RuleSpec) and "answer" in spec.model_fields_set:
                self._problems.add(f"{path}.error", "answer and error are both given: leave one out")
        elif spec.retry_after_ms is not None or spec.message:
            word = "message" if spec.message else "retry_after_ms"
            self._problems.add(f"{path}.{word}", "only a call that fails says so: give its error")
        for name in spec.result:
            self._known(f"{path}.result.{name}", "field of a result", name, _SCRIPTABLE)
        try:
            Result.model_validate({**spec.result, "task_id": "", "job_id": "", "attempt": 0})
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False, include_context=False):
                self._problems.add(f"{path}.result.{found['loc'][0]}", found["msg"])

    def _expect(self, path: str, expect: ExpectSpec) -> None:
        self._known(f"{path}.status", "status", expect.status, [status.value for status in JobStatus])
        if expect.reason is not None:
            self._known(f"{path}.reason", "error kind", expect.reason, [kind.value for kind in ErrorKind])
        for word in ("tasks", "failed", "attempts"):
            for name in getattr(expect, word):
                self._known(f"{path}.{word}.{name}", "step", name, self._steps)
        named = [("events", number, event.step) for number, event in enumerate(expect.events)]
        named += [("prompts", number, prompt.step) for number, prompt in enumerate(expect.prompts)]
        for word, number, step in named:
            if step is not None:
                self._known(f"{path}.{word}.{number}.step", "step", step, self._steps)
        for number, prompt in enumerate(expect.prompts):
            if prompt.matches is not None:
                self._expression(f"{path}.prompts.{number}.matches", prompt.matches)
        if expect.output_schema is not None:
            try:
                check_schema(expect.output_schema)
            except SchemaInvalid as error:
                self._problems.add(f"{path}.output_schema", f"not a valid JSON Schema: {error.message}")

    def _known(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        if name not in names:
            self._problems.add(path, f"unknown {what} {name[:80]!r}{suggestion(name, names)}")

    def _expression(self, path: str, text: str) -> None:
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            self._problems.add(path, f"not a regular expression: {error}")

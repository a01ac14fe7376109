"""A route takes one of several branches: by the first rule that holds, else by a classifier, else `otherwise`."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import SetTaskAside
from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import by_index, events, reply, text, workflow
from tests.world import POOLS, World, echo

TO: dict[str, Any] = {
    "history": {"llm": {"pool": "small", "prompt": "history: {{ input.question }}", "max_output_tokens": 9}},
    "maths": {"llm": {"pool": "large", "prompt": "maths: {{ input.question }}", "max_output_tokens": 9}},
    "nobody": {},
}
RULES = [
    {"when": "{{ job.labels.get('subject') == 'maths' }}", "to": "maths"},
    {"when": "{{ input.question | length > 20 }}", "to": "history"},
]
CLASSIFIER = {"pool": "tiny", "prompt": "{{ labels | join(', ') }}: {{ input.question }}", "max_output_tokens": 9}


def route(**fields: Any) -> dict[str, Any]:
    return {"route": {"to": TO, "otherwise": "nobody", **fields}}


def ran(step: dict[str, Any], answer: Any = echo, question: str = "why?", **fields: Any) -> World:
    world = World()
    world.submit("j", workflow(step), {"question": question}, **fields)
    world.run(answer)
    return world


def decided(world: World) -> dict[str, Any]:
    (data,) = events(world, "route.decided")
    return data


def test_the_first_rule_that_holds_decides_and_says_which() -> None:
    world = ran(route(rules=RULES, classifier=CLASSIFIER), question="q" * 21, labels={"subject": "maths"})
    assert world.outcome("j").output == "maths: " + "q" * 21
    assert decided(world) == {"to": "maths", "by": "rule", "rule": 0}
    assert [task.pool for task in world.dispatched] == ["large"]
    world = ran(route(rules=RULES, classifier=CLASSIFIER), question="q" * 21)
    assert decided(world) == {"to": "history", "by": "rule", "rule": 1}
    pattern = world.outcome("j").receipt.steps["s"].pattern
    assert pattern is not None
    assert pattern.to == "history"


def test_where_no_rule_holds_otherwise_is_taken_and_a_branch_may_be_a_name() -> None:
    world = ran(route(rules=RULES))
    assert (world.outcome("j").output, world.dispatched) == ("nobody", [])
    assert decided(world) == {"to": "nobody", "by": "otherwise", "reason": "no rule holds"}


def test_where_no_rule_holds_the_classifier_is_asked_by_a_strict_enum() -> None:
    world = ran(route(rules=RULES, classifier=CLASSIFIER), by_index({"to": "history"}, "1815"))
    first, second = world.dispatched
    assert (first.pool, text(first)) == ("tiny", "history, maths, nobody: why?")
    assert first.call is not None
    assert first.call.output_schema == {
        "type": "object",
        "properties": {"to": {"type": "string", "enum": ["history", "maths", "nobody", "unsure"]}},
        "required": ["to"],
        "additionalProperties": False,
    }
    assert (second.pool, second.task_id, world.outcome("j").output) == ("small", "j/s/1", "1815")
    assert decided(world) == {"to": "history", "by": "classifier"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"to": "unsure"}, "the classifier is unsure"),
        ({"to": "geography"}, "the classifier names no branch"),
        ("history", "the classifier names no branch"),
        (ErrorKind.MALFORMED_OUTPUT, "the classifier failed: malformed_output"),
        (ErrorKind.RATE_LIMITED, "the classifier failed: rate_limited"),
    ],
)
def test_a_classifier_that_is_unsure_wrong_or_fails_takes_otherwise_after_one_attempt(answer: Any, reason: str) -> None:
    world = ran({**route(classifier=CLASSIFIER), "retry": {"attempts": 5}}, by_index(answer))
    outcome = world.outcome("j")
    assert (outcome.status, outcome.output, outcome.partial) == (JobStatus.SUCCEEDED, "nobody", False)
    assert decided(world) == {"to": "nobody", "by": "otherwise", "reason": reason}
    assert len(world.dispatched) == 1
    assert not [effect for effect in world.effects if isinstance(effect, SetTaskAside)]


@pytest.mark.parametrize(("confidence", "to"), [(0.9, "history"), (0.5, "nobody"), (None, "nobody")])
def test_a_classifier_below_its_least_confidence_counts_as_unsure(confidence: float | None, to: str) -> None:
    step = route(classifier={**CLASSIFIER, "at_least": 0.8})
    world = ran(step, by_index(lambda task: reply(task, {"to": "history"}, confidence=confidence), "1815"))
    assert decided(world)["to"] == to
    assert world.dispatched[0].call is not None
    assert world.dispatched[0].call.logprobs


def test_a_branch_that_fails_fails_the_step_as_any_call_does() -> None:
    step = route(rules=[{"when": "{{ true }}", "to": "maths"}])
    world = ran(step, by_index(ErrorKind.BAD_REQUEST))
    assert (world.outcome("j").status, world.outcome("j").reason) == (JobStatus.FAILED, ErrorKind.BAD_REQUEST)
    assert [effect.reason for effect in world.effects if isinstance(effect, SetTaskAside)] == ["exhausted"]
    world = ran({**step, "on_error": {"default": "?"}}, by_index(ErrorKind.BAD_REQUEST))
    assert (world.outcome("j").output, world.outcome("j").partial) == ("?", True)


def test_a_rule_that_cannot_be_evaluated_fails_the_step() -> None:
    world = ran(route(rules=[{"when": "{{ input.langauge == 'de' }}", "to": "maths"}]))
    assert world.outcome("j").reason is ErrorKind.INVALID_INPUT
    assert "there is no field 'langauge'" in world.outcome("j").message


def test_a_budget_and_confidentiality_look_at_every_branch() -> None:
    world = World(public_pools=("large",))
    world.submit("j", workflow(route()), {"question": "q"}, sensitivity="confidential")
    assert "s (pool large)" in world.outcome("j").message
    world = World()
    step = route(classifier={**CLASSIFIER, "max_output_tokens": None})
    world.submit("j", workflow(step), {"question": "q"}, budget={"tokens": 1_000})
    assert "missing on: s" in world.outcome("j").message


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"otherwise": "histry"}, "steps.s.route.otherwise: unknown branch 'histry' (did you mean 'history'?)"),
        ({"rules": [{"when": "{{ true }}", "to": "x"}]}, "steps.s.route.rules.0.to: unknown branch 'x'"),
        ({"rules": [{"when": "true", "to": "maths"}]}, "one expression in {{ }}"),
        ({"classifier": {**CLASSIFIER, "labels": {"mths": ""}}}, "unknown branch 'mths' (did you mean 'maths'?)"),
        ({"classifier": {**CLASSIFIER, "output": {}}}, "leave output out"),
        ({"classifier": {**CLASSIFIER, "pool": "tny"}}, "unknown pool 'tny' (did you mean 'tiny'?)"),
        ({"classifier": {**CLASSIFIER, "remember_s": 0}}, "remember_s: Input should be greater than or equal to 1"),
        ({"classifier": {**CLASSIFIER, "remember_s": 604_801}}, "remember_s: Input should be less than or equal to"),
        ({"classifier": {**CLASSIFIER, "remember_s": "60"}}, "classifier.remember_s: a whole number is needed"),
        ({"to": {"nobody": {"lm": 1}}}, "unknown key 'lm' (did you mean 'llm'?)"),
        ({"to": {}}, "steps.s.route.to"),
    ],
)
def test_a_route_that_does_not_hold_is_refused_with_the_reason(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow(route(**fields)), pools=POOLS)
    assert part in str(caught.value)

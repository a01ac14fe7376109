"""Confidential steps and fields: what is refused, what is passed on, and where nothing of it may stand."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.confidential_fields import marked_fields, named_field, source_field
from headrace.orchestrator.core.effects import EmitEvent, SubmitNested
from headrace.orchestrator.core.events import TaskRedriven
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.problems import Problems
from headrace.schemas.base import Sensitivity
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.pools import PoolsFile
from tests.unit.orchestrator.troubles import failed, take_task
from tests.world import POOLS, World, echo

PUBLIC = ("large",)
INPUT = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "card": {"type": "string", "x-confidential": True},
        "holder": {"type": "object", "properties": {"name": {"x-confidential": True}, "country": {}}},
        "rows": {
            "type": "array",
            "items": {"properties": {"iban": {"x-confidential": True}, "amount": {"type": "number"}}},
        },
    },
}


def llm(prompt: str, pool: str = "small", **more: Any) -> dict[str, Any]:
    return {"llm": {"pool": pool, "prompt": prompt, "max_output_tokens": 9}, **more}


def compiled(steps: dict[str, Any], **head: Any) -> Graph:
    document = {"name": "w", "version": 1, "input": INPUT, "steps": steps, **head}
    return compile_workflow(document, pools=POOLS, public_pools=PUBLIC)


def problems(steps: dict[str, Any], **head: Any) -> list[str]:
    with pytest.raises(WorkflowInvalid) as caught:
        compiled(steps, **head)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def confidential(graph: Graph) -> list[str]:
    return [step.name for step in graph.steps if step.confidential]


# ── The check ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_says_confidential_has_no_public_pool() -> None:
    (problem,) = problems({"a": llm("x", "large", sensitivity="confidential")})
    assert problem == (
        "steps.a: it is confidential (it says so) and goes to public pool large: use a private one (small, tiny)"
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ input.card }}",
        "{{ input['card'] }}",
        "{{ input }}",
        "{{ input | tojson }}",
        "{{ input.holder }}",
        "{{ input.holder.name }}",
        "{{ input.holder.name[:2] }}",
        "{{ input.get('card') }}",
        "{{ input.holder.get('name') }}",
        "{{ input[input.text] }}",
        "{% set all = input %}{{ all.text }}",
        "{% for row in input.rows %}{{ row.amount }}{% endfor %}",
        "{{ input.rows[0].iban }}",
        "{{ input.rows[-1].amount }}",
    ],
)
def test_a_public_step_that_may_read_a_confidential_field_is_refused(prompt: str) -> None:
    (problem,) = problems({"a": llm(prompt, "large")})
    assert problem.startswith("steps.a: it is confidential (it names input")
    assert confidential(compiled({"a": llm(prompt)})) == ["a"]


@pytest.mark.parametrize(
    "prompt",
    ["{{ input.text }}", "{{ input.holder.country }}", "{{ input.rows[0].amount }}", "{{ job.id }}", "input.card"],
)
def test_a_step_that_names_other_fields_is_not_confidential(prompt: str) -> None:
    assert confidential(compiled({"a": llm(prompt, "large")})) == []


def test_of_the_items_of_a_list_only_the_marked_fields_count() -> None:
    def each(prompt: str, source: str = "{{ input.rows }}") -> dict[str, Any]:
        return {"a": llm(prompt, "large", for_each=source)}

    assert confidential(compiled(each("{{ item.amount }} {{ index }}"))) == []
    assert "names input.rows.*.iban" in problems(each("{{ item.iban }}"))[0]
    assert "names input.rows.*.iban" in problems(each("{{ item }}"))[0]
    assert "names input.rows.*.iban" in problems(each("{{ item.amount }}", "{{ input.rows[:2] }}"))[0]
    assert "names input.rows.*.iban" in problems(each("{{ input.rows }}"))[0], "the same text as its source"
    tree = llm("{% for row in items %}{{ row.amount }}{% endfor %}", "large", reduce="{{ input.rows }}")
    assert "names input.rows.*.iban" in problems({"a": tree})[0]
    assert confidential(compiled({"a": {"reduce": "{{ input.rows }}", "with": "concat"}})) == ["a"]


def test_what_a_confidential_step_yields_makes_those_confidential_that_name_it() -> None:
    steps = {
        "a": llm("{{ input.card }}"),
        "b": {"split": {"from": "{{ a }}", "by": "lines", "size": 1}},
        "c": llm("{{ item }}", for_each="b"),
        "d": llm("{{ input.text }}", "large", after=["c"]),
    }
    assert confidential(compiled(steps)) == ["a", "b", "c"]
    steps["d"] = llm("{{ c | length }}", "large")
    assert problems(steps) == [
        "steps.d: it is confidential (it names step 'c', whose output is) and goes to public pool large: use a private "
        "one (small, tiny), or sensitivity: public on 'c', where what it yields may be seen by all"
    ]


def test_a_condition_counts_as_well_as_a_prompt() -> None:
    assert "names input.card" in problems({"a": llm("x", "large", when="{{ input.card }}")})[0]


def test_a_step_that_says_public_declassifies_what_it_yields_and_nothing_that_it_reads() -> None:
    masked = llm("Mask {{ input.card }}", sensitivity="public")
    graph = compiled({"a": masked, "b": llm("{{ a }}", "large")})
    assert confidential(graph) == ["a"]
    (problem,) = problems({"a": llm("Mask {{ input.card }}", "large", sensitivity="public")})
    assert problem.startswith("steps.a: it is confidential (it names input.card")


def test_a_declassification_of_nothing_is_a_problem() -> None:
    assert problems({"a": llm("{{ input.text }}", sensitivity="public")}) == [
        "steps.a.sensitivity: nothing that it names is confidential: leave it out"
    ]


def test_a_confidential_workflow_has_confidential_steps() -> None:
    assert confidential(compiled({"a": llm("x"), "b": llm("y")}, sensitivity="confidential")) == ["a", "b"]
    assert "its workflow says so" in problems({"a": llm("x", "large")}, sensitivity="confidential")[0]


def test_every_call_of_a_pattern_is_looked_at() -> None:
    route = {"to": {"x": llm("{{ input.text }}", "large"), "y": {}}, "otherwise": "y"}
    route["rules"] = [{"when": "{{ input.card == '1' }}", "to": "x"}]  # type: ignore[assignment]
    assert "pool large" in problems({"a": {"route": route}})[0]
    cascade = {"pools": ["small", "large"], "prompt": "{{ input.card }}", "accept": {"confidence": {"at_least": 0.5}}}
    assert "pool large" in problems({"a": {"cascade": cascade}})[0]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"a": {"x-confidential": "yes"}}}, "x-confidential of input.a is true or false"),
        ({"$defs": {"a": {"x-confidential": True}}, "properties": {"a": {"$ref": "#/$defs/a"}}}, "write the field out"),
        ({"patternProperties": {"a": {"x-confidential": True}}}, "write the field out"),
    ],
)
def test_a_mark_that_would_be_passed_over_is_a_problem(schema: dict[str, Any], said: str) -> None:
    assert said in problems({"a": llm("x")}, input=schema)[0]


def test_marks_are_found_below_lists_and_alternatives() -> None:
    schema = {"anyOf": [{"properties": {"a": {"items": {"allOf": [{"x-confidential": True}]}}}}, {}]}
    found = Problems({})
    assert marked_fields(schema, found) == (("a", "*"),)
    assert named_field((("a", "*"),), "{{ input.a[1] }}", None) == "input.a.*"
    assert named_field((("a", "*"),), "{{ input.b }}", None) is None
    assert source_field(" {{ input.a.b }}\n") == ("a", "b")
    assert source_field("{{ input.a | list }}") is None


# ── A job ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def world(steps: dict[str, Any], workflows: dict[str, Any] | None = None, **job: Any) -> World:
    made = World(public_pools=PUBLIC, workflows=workflows or {})
    document = {"name": "w", "version": 1, "input": INPUT, "steps": steps}
    given = {"text": "t", "card": "4711", "holder": {"name": "Ada", "country": "UK"}}
    made.submit("a", document, given, **job)
    return made


def test_tasks_of_a_confidential_step_are_so_and_the_others_as_the_job_says() -> None:
    made = world({"a": llm("{{ input.card }}"), "b": llm("{{ input.text }}", "large")})
    made.run()
    assert {task.step: task.sensitivity for task in made.dispatched} == {
        "a": Sensitivity.CONFIDENTIAL,
        "b": Sensitivity.INTERNAL,
    }


def test_a_step_cannot_lower_what_the_job_says() -> None:
    made = world({"a": llm("{{ input.card }}", sensitivity="public")}, sensitivity="confidential")
    made.run()
    assert [task.sensitivity for task in made.dispatched] == [Sensitivity.CONFIDENTIAL]
    refused = world({"a": llm("{{ input.text }}", "large")}, sensitivity="confidential")
    assert refused.outcome("a").reason is ErrorKind.INVALID_JOB


def test_a_task_is_not_dispatched_to_a_pool_that_became_public() -> None:
    made = world({"a": llm("{{ input.card }}")})
    object.__setattr__(made.environment, "public_pools", ("small",))
    made.deal()
    assert made.dispatched == []
    assert made.outcome("a").reason is ErrorKind.BAD_REQUEST


def test_a_redrive_does_not_take_a_confidential_task_to_a_public_pool() -> None:
    steps = {"a": llm("{{ input.card }}", for_each="{{ [1, 2] }}", require={"at_least": 0})}
    made = world(steps)
    made.result(failed(take_task(made), ErrorKind.AUTH))
    made.take("a", TaskRedriven("a/a/0", "large", None, 1))
    assert [effect.reason for effect in made.effects if hasattr(effect, "reason")][-1] == "invalid_redrive"


def test_a_nested_job_of_a_confidential_step_is_confidential_and_its_pools_are_looked_at_first() -> None:
    inner = {"name": "inner", "version": 1, "steps": {"x": llm("{{ input.it }}")}}
    outer = {"a": {"workflow": {"name": "inner@1", "input": {"it": "{{ input.card }}"}}}}
    made = world(outer, {"inner@1": inner})
    made.deal()
    (posted,) = made.posted
    assert isinstance(posted, SubmitNested)
    assert posted.submission.sensitivity is Sensitivity.CONFIDENTIAL
    inner = {**inner, "steps": {"x": llm("{{ input.it }}", "large")}}
    refused = world(outer, {"inner@1": inner})
    assert "w@1/a/inner@1: " in refused.outcome("a").message
    assert "x (pool large)" in refused.outcome("a").message


def test_what_a_nested_workflow_yields_that_is_confidential_must_be_called_so() -> None:
    inner = {"name": "inner", "version": 1, "steps": {"x": llm("y", sensitivity="confidential")}}
    step = {"workflow": {"name": "inner@1", "input": {}}}
    refused = world({"a": step}, {"inner@1": inner})
    assert "what inner@1 yields is confidential: say sensitivity" in refused.outcome("a").message
    for said in ("confidential", "public"):
        assert world({"a": {**step, "sensitivity": said}}, {"inner@1": inner}).outcomes("a") == []
    inline = {"a": {"workflow": {"inline": inner, "input": {}}}}
    assert confidential(compiled(inline)) == ["a"]


def test_no_event_of_a_confidential_step_quotes_what_is_in_it() -> None:
    allowed = {"look": {"llm": {"pool": "small", "prompt": "{{ args.instructions }}", "max_output_tokens": 9}}}
    plan = {"pool": "small", "prompt": "{{ input.card }}", "max_output_tokens": 9, "allowed": allowed}
    made = world({"a": {"plan": {**plan, "max_tasks": 2}}})

    def answer(task: Any) -> Any:
        if task.attempt == 1 and task.task_id == "a/a/0":
            return failed(task, ErrorKind.MALFORMED_OUTPUT).model_copy(update={"wrong_answer": "4711"})
        plan = {"tasks": [{"name": "look", "args": {"instructions": "4711"}, "needs": []}]}
        return echo(task).model_copy(update={"output": plan if task.task_id.endswith("/1") else "4711"})

    made.run(answer)
    events = [effect.event for effect in made.effects if isinstance(effect, EmitEvent)]
    assert {"plan.refused", "plan.made"} <= {event.type for event in events}
    assert not [event for event in events if "4711" in repr(event) or "problem" in event.data]


def test_pools_know_which_of_them_are_public() -> None:
    file = PoolsFile.model_validate(
        {
            "endpoints": {"in": {"public": False}, "out": {}},
            "pools": {"private": {"endpoint": "in"}, "open": {"endpoint": "out"}},
        }
    )
    assert file.public_pools == ("open",)

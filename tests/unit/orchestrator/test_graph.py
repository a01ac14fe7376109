from pathlib import Path

import pytest

from headrace.orchestrator.core.graph import Require, Source, StepKind, compile_workflow
from headrace.orchestrator.core.templates import evaluate_structure, render
from headrace.orchestrator.core.workflow_text import read_workflow
from headrace.schemas.errors import WorkflowInvalid
from headrace.schemas.pools import Pool

POOLS = {"small": Pool(endpoint="here"), "large": Pool(endpoint="here")}
GOLDEN = Path(__file__).parents[2] / "golden" / "summarise.yaml"


def compiled(steps, **head):
    return compile_workflow({"name": "w", "version": 1, "steps": steps, **head}, pools=POOLS)


def problems(steps, **head):
    with pytest.raises(WorkflowInvalid) as caught:
        compiled(steps, **head)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def llm(prompt="hello", **more):
    return {"llm": {"pool": "small", "prompt": prompt, **more}}


def test_the_summarise_workflow_of_the_design_compiles_to_three_steps():
    graph = compile_workflow(read_workflow(GOLDEN.read_text()).document, pools=POOLS)
    chunks, notes, summary = graph.steps
    assert graph.ref == "summarise@3"
    assert (chunks.kind, notes.kind, summary.kind) == (StepKind.SPLIT, StepKind.FOR_EACH, StepKind.REDUCE)
    assert (chunks.needs, notes.needs, summary.needs) == ((), ("chunks",), ("notes",))
    assert graph.consumers("notes") == ("summary",)
    assert graph.output_needs == ("summary",)
    assert notes.require == Require(share=0.95)
    assert notes.source == Source(step="chunks")
    assert summary.fan_in == 8
    assert render(summary.llm.messages[0].content, {"items": ["a", "b"]}) == "Merge into one summary:\n- a\n- b\n"
    assert evaluate_structure(graph.output, {"summary": "s"}) == "s"


def test_hashes_of_the_golden_workflow_do_not_change_between_releases():
    graph = compile_workflow(read_workflow(GOLDEN.read_text()).document, pools=POOLS)
    assert graph.sha256 == "3cea038eafa1a7bae958892497a2a1d049acadaee6244f2ffcac180d21ccca12"
    hashes = [step.template_hash for step in graph.steps]
    assert hashes == ["463c376f535a119c", "781319dcaf15a22e", "f584d21e4642946e"]


def test_compiling_the_stored_document_again_gives_the_same_graph():
    graph = compile_workflow(read_workflow(GOLDEN.read_text()).document, pools=POOLS)
    assert compile_workflow(graph.document(), pools=POOLS) == graph


def test_steps_may_be_written_in_any_order_and_stand_behind_what_they_need():
    graph = compiled({"c": llm("{{ b }}"), "b": llm("{{ a }}"), "a": llm()})
    assert [step.name for step in graph.steps] == ["a", "b", "c"]
    assert graph.output == "{{ a }}"


def test_independent_steps_keep_the_order_of_the_document():
    assert [step.name for step in compiled({"z": llm(), "a": llm(), "m": llm()}).steps] == ["z", "a", "m"]


def test_system_and_prompt_become_two_messages():
    (step,) = compiled({"a": llm("ask", system="be brief")}).steps
    assert [(message.role, message.content) for message in step.llm.messages] == [
        ("system", "be brief"),
        ("user", "ask"),
    ]


def test_a_template_that_only_names_a_step_is_that_step():
    graph = compiled({"a": {"split": {"from": "x", "by": "lines", "size": 1}}, "b": {"for_each": "{{ a }}", **llm()}})
    assert graph.step("b").source == Source(step="a")


def test_an_expression_can_feed_for_each():
    (step,) = compiled({"b": {"for_each": "{{ input.messages }}", **llm("{{ item }} {{ index }}")}}).steps
    assert step.source == Source(expression="{{ input.messages }}")
    assert step.needs == ()


def test_require_rounds_a_share_up_as_it_is_written_in_decimal():
    assert Require(share=0.95).needed(10) == 10
    assert Require(share=0.07).needed(100) == 7
    assert Require(at_least=3).needed(2) == 3
    assert Require().needed(5) == 5


def test_all_problems_come_at_once_each_with_its_place():
    found = problems(
        {
            "a": llm("{{ b }} {{ nots }}", pool="smal"),
            "b": {**llm("{{ a }}"), "cache": True},
            "notes": {"for_each": "chunk", **llm()},
            "sum": {"reduce": "a", "with": "cout"},
            "bad": {**llm(), "retry": {"attempts": 0}, "temperture": 1},
            "tiers": llm(cascade=["small", "large"]),
            "else": {**llm(), "otherwise": "x"},
        },
        inputs={},
        budget={"tokens": 5},
        input={"type": "objct"},
    )
    text = "\n".join(found)
    for part in (
        "inputs: unknown key 'inputs' (did you mean 'input'?)",
        "input: not a valid JSON Schema",
        "steps.a.llm.pool: unknown pool 'smal' (did you mean 'small'?)",
        "steps.a.llm.prompt: unknown reference 'nots' (did you mean 'notes'?)",
        "steps.b.cache: not yet: 'cache'",
        "steps.a: a cycle: a needs b needs a",
        "steps.notes.for_each: unknown step 'chunk'",
        "steps.sum.with: unknown reducer 'cout' (did you mean 'count'?)",
        "steps.sum.reduce: step 'a' does not yield a list",
        "steps.bad.retry.attempts: Input should be greater than or equal to 1",
        "steps.bad.temperture: unknown key 'temperture'",
        "steps.tiers.llm.cascade: 'cascade' does not stand here: it is a kind of step",
        "steps.else.otherwise: 'otherwise' does not stand here: it stands within route",
        "budget: 'budget' does not stand here: it stands on the job",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ({}, "needs one of"),
        ({"for_each": "{{ input.x }}"}, "for_each needs llm"),
        ({"reduce": "{{ input.x }}"}, "reduce needs either"),
        ({"reduce": "{{ input.x }}", "with": "count", **llm()}, "reduce needs either"),
        ({"reduce": "{{ input.x }}", "with": "count", "fan_in": 3}, "fan_in belongs to reduce with llm"),
        ({"reduce": "{{ input.x }}", "fan_in": 1, **llm()}, "greater than or equal to 2"),
        ({"for_each": "{{ input.x }}", "reduce": "{{ input.x }}", **llm()}, "do not go together"),
        ({"for_each": "x {{ input.x }}", **llm()}, "one expression"),
        ({"for_each": "input.x", **llm()}, '"{{ input.x }}"'),
        ({"split": {"from": "x", "by": "lines"}}, "size is missing"),
        ({"split": {"from": "x", "by": "lines", "size": 1}, "timeout_s": 3}, "belongs to steps that have tasks"),
        ({**llm(), "require": "all"}, "require belongs to for_each"),
        ({**llm(), "require": {"shre": 1}}, "use all, {at_least"),
        ({**llm(), "on_error": "ignore"}, "use fail, skip"),
        ({**llm(), "retry": {"on": ["timeout"]}}, "steps.s.retry.on: a mapping is needed"),
        (
            {**llm(), "retry": {"on": {"timeot": {"attempts": 2}}}},
            "did you mean 'timeout'?",
        ),
        (
            {**llm(), "retry": {"on": {"cancelled": {"attempts": 2}}}},
            "cancelled is never tried again",
        ),
        ({**llm(), "retry": {"on": {"auth": {"attemps": 2}}}}, "did you mean 'attempts'"),
        (
            {**llm(), "retry": {"on": {"auth": {"backoff_ms": 9, "max_backoff_ms": 8}}}},
            "steps.s.retry.on.auth: max_backoff_ms 8 is below backoff_ms 9",
        ),
        ({"split": {"from": "x", "by": "lines", "size": 3, "overlap": 2}}, "overlap 2 is above half of size 3"),
        ({"split": {"from": "x", "by": "records", "overlap": 1}}, "overlap belongs to texts"),
        ({"agent": {}}, "steps.s.agent: 'tools' is missing"),
        ({"llm": {"pool": "small"}}, "prompt or messages is missing"),
        ({"llm": {"pool": "small", "prompt": "a", "messages": [{"role": "user", "content": "b"}]}}, "in place of"),
        (llm("{{ item }}"), "'item' is known in the templates of for_each only"),
        (llm("{{ items }}"), "'items' is known in the templates of reduce only"),
        (llm("{% macro a() %}{% endmacro %}"), "'macro' is not available"),
        (llm("{{ "), "the template does not hold"),
        (llm("{{ input | lenght }}"), "No filter named 'lenght'"),
        (llm("{{ s }}"), "a cycle: s needs s"),
        (llm(output={"type": "strin"}), "not a valid JSON Schema"),
        (llm(output={"$ref": "https://example.com/s.json"}), "may refer to itself only"),
        (llm(temperature="hot"), "a number is needed"),
        (llm(temperature=float("nan")), "not finite"),
        ("text", "a mapping is needed"),
    ],
)
def test_a_step_that_does_not_hold_is_refused_with_the_reason(step, part):
    assert part in "\n".join(problems({"s": step}))


@pytest.mark.parametrize("name", ["input", "items", "a-b", "1a", "in", "a" * 65, ""])
def test_a_step_name_that_templates_could_not_spell_is_refused(name):
    assert problems({name: llm()})


def test_an_llm_step_whose_schema_is_an_array_can_be_fanned_out():
    graph = compiled({"plan": llm(output={"type": "array"}), "each": {"for_each": "plan", **llm("{{ item }}")}})
    assert graph.step("each").needs == ("plan",)


def test_the_output_may_be_a_structure_and_its_references_are_checked():
    graph = compiled({"a": llm(), "b": llm()}, output={"x": "{{ b }}", "y": ["{{ a.z }}", 3]})
    assert graph.output_needs == ("a", "b")
    assert "output.x: unknown reference 'c'" in problems({"a": llm()}, output={"x": "{{ c }}"})[0]


def test_without_pools_the_names_of_pools_are_not_checked():
    document = {"name": "w", "version": 1, "steps": {"a": llm(pool="anything")}}
    assert compile_workflow(document, pools=None).ref == "w@1"
    with pytest.raises(WorkflowInvalid):
        compile_workflow(document, pools=POOLS)


@pytest.mark.parametrize(
    "document", [None, [], "x", {}, {"steps": {}}, {"steps": []}, {1: 2}, {"name": {"a": object()}}]
)
def test_what_is_no_workflow_is_refused_and_nothing_else_is_raised(document):
    with pytest.raises(WorkflowInvalid):
        compile_workflow(document, pools=POOLS)


def test_a_workflow_of_a_thousand_templates_is_refused_before_they_are_compiled():
    messages = [{"role": "user", "content": f"{{{{ input.a{at} }}}}"} for at in range(600)]
    assert "more than 500 templates" in problems({"a": {"llm": {"pool": "small", "messages": messages}}})[0]

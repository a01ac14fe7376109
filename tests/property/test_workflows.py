"""Laws of what turns a workflow into a graph and a text into items."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.aggregate import TreePlan
from headrace.orchestrator.core.catalogue import check_text
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.split import split_text
from headrace.orchestrator.core.templates import evaluate, render
from headrace.orchestrator.shell.tokens import count_chars4
from headrace.schemas.errors import HeadraceError, WorkflowInvalid
from headrace.schemas.pools import Pool
from headrace.schemas.workflow import StepSpec

POOLS = {"small": Pool(endpoint="here")}
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
)
TEMPLATES = st.lists(
    st.one_of(
        st.builds(
            "{{{{ {} }}}}".format, st.one_of(NAMES, st.sampled_from(["input.x", "item", "items", "index", "zz"]))
        ),
        st.sampled_from(
            ["text ", "{% for x in items %}{{ x }}{% endfor %}", "{{", "{# c #}", "{% if a %}b{% endif %}"]
        ),
    ),
    max_size=3,
).map("".join)
LLM = st.fixed_dictionaries(
    {"pool": st.sampled_from(["small", "small", "small", "smal"]), "prompt": TEMPLATES},
    optional={
        "system": TEMPLATES,
        "temperature": st.just(0.5) | SCALARS,
        "output": st.just({"type": "array"}) | VALUES,
    },
)
STEPS = st.one_of(
    st.fixed_dictionaries({"llm": LLM}),
    st.fixed_dictionaries({"for_each": NAMES | TEMPLATES, "llm": LLM}, optional={"require": VALUES}),
    st.fixed_dictionaries({"reduce": NAMES | TEMPLATES, "llm": LLM}, optional={"fan_in": st.integers(0, 9)}),
    st.fixed_dictionaries({"reduce": NAMES, "with": st.sampled_from(["count", "mean", "cout"])}),
    st.fixed_dictionaries(
        {"split": st.fixed_dictionaries({"from": TEMPLATES, "by": st.just("lines"), "size": st.integers(0, 3)})}
    ),
    st.dictionaries(st.sampled_from(list(StepSpec.model_fields)), VALUES, max_size=4),
)
DOCUMENTS = st.fixed_dictionaries(
    {"name": st.just("w") | VALUES, "version": st.just(1) | VALUES, "steps": st.dictionaries(NAMES, STEPS, max_size=5)},
    optional={"output": TEMPLATES | VALUES, "input": st.just({"type": "object"}) | VALUES, "zz": VALUES},
)
GOOD_STEP = st.lists(NAMES, max_size=3).map(
    lambda needs: {"llm": {"pool": "small", "prompt": "".join(f"{{{{ {need} }}}}" for need in needs)}}
)
NEARLY_GOOD = st.dictionaries(NAMES, GOOD_STEP, min_size=1).map(
    lambda steps: {"name": "w", "version": 1, "steps": steps}
)


def outcome(document) -> tuple[Graph | None, list[str]]:
    try:
        return compile_workflow(document, pools=POOLS), []
    except WorkflowInvalid as error:
        return None, [problem.message for problem in error.problems]


def check_order(graph: Graph) -> None:
    seen: list[str] = []
    for step in graph.steps:
        assert all(need in seen for need in step.needs)
        seen.append(step.name)
        assert all(step.name in graph.step(consumer).needs for consumer in graph.consumers(step.name))
    assert len(set(seen)) == len(seen)


@given(DOCUMENTS | NEARLY_GOOD | VALUES)
@settings(max_examples=400, deadline=None)
def test_a_document_is_a_graph_whose_order_respects_its_needs_or_invalid_and_nothing_else(document):
    graph, found = outcome(document)
    assert (graph is None) == bool(found)
    if graph is None:
        return
    check_order(graph)
    assert compile_workflow(graph.document(), pools=POOLS).sha256 == graph.sha256


@given(NEARLY_GOOD)
@settings(max_examples=200, deadline=None)
def test_a_workflow_of_known_references_compiles_unless_it_has_a_cycle_or_an_unknown_step(document):
    graph, found = outcome(document)
    assert all("cycle" in message or "unknown reference" in message for message in found)
    if graph is not None:
        check_order(graph)


@given(st.text(max_size=300) | st.text(alphabet="ab:-{}[]&*!<>|'\"\n 01", max_size=100))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_workflow_or_has_problems_with_lines(text):
    graph, problems = check_text("f.yaml", text, pools=POOLS)
    assert (graph is None) == bool(problems)
    assert all(problem.problem.line for problem in problems)


@given(st.text(alphabet="{}%#() abinputfor.|~+*[]'\"0123456789_\n", max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_template_renders_or_fails_as_one_of_ours(source):
    for run in (render, evaluate):
        with contextlib.suppress(HeadraceError):
            assert run is evaluate or isinstance(run(source, {"input": {"a": [1]}, "a": "b"}), str)
            run(source, {"input": {"a": [1]}, "a": "b"})


TEXTS = st.text(alphabet="ab c.\n\t!?é。 \r", max_size=400) | st.text(max_size=200)


@given(TEXTS, st.integers(1, 60), st.sampled_from(["tokens", "characters"]))
@settings(max_examples=400, deadline=None)
def test_every_character_stands_in_exactly_one_chunk_and_no_chunk_is_above_the_size(text, size, by):
    chunks = split_text(text, by=by, size=size, count_tokens=count_chars4)
    assert "".join(chunks) == text
    assert all(chunks)
    count = len if by == "characters" else count_chars4
    assert all(count(chunk) <= size for chunk in chunks)
    assert chunks == split_text(text, by=by, size=size, count_tokens=count_chars4)


@given(TEXTS, st.integers(2, 60), st.integers(1, 30), st.sampled_from(["tokens", "characters"]))
@settings(max_examples=300, deadline=None)
def test_what_overlaps_is_the_end_of_the_chunk_before_and_no_chunk_is_above_the_size(text, size, overlap, by):
    overlap = min(overlap, size // 2)
    chunks = split_text(text, by=by, size=size, count_tokens=count_chars4, overlap=overlap)
    alone = split_text(text, by=by, size=size - overlap, count_tokens=count_chars4)
    count = len if by == "characters" else count_chars4
    assert all(count(chunk) <= size for chunk in chunks)
    for before, own, chunk in zip(["", *alone], alone, chunks, strict=False):
        tail = chunk.removesuffix(own)
        assert tail + own == chunk
        assert before.endswith(tail)
        assert count(tail) <= overlap


@given(TEXTS, st.integers(1, 5))
def test_lines_joined_are_the_text_and_each_chunk_has_at_most_size_lines(text, size):
    chunks = split_text(text, by="lines", size=size, count_tokens=len)
    assert "".join(chunks) == text
    assert all(0 < len(chunk.removesuffix("\n").split("\n")) <= size for chunk in chunks)


@given(st.integers(0, 400), st.integers(2, 20))
def test_every_item_and_every_node_but_the_root_has_exactly_one_parent_in_order(count, fan_in):
    plan = TreePlan(count, fan_in)
    items: list[int] = []
    nodes: list[int] = []
    for node in range(plan.node_count):
        inputs = plan.inputs_of(node)
        assert 1 <= len(inputs.indices) <= fan_in
        (items if inputs.leaf else nodes).extend(inputs.indices)
        parent = plan.parent_of_item if inputs.leaf else plan.parent_of_node
        assert all(parent(index) == node for index in inputs.indices)
        assert inputs.leaf or inputs.stop <= node
    assert items == list(range(count))
    assert nodes == list(range(plan.node_count - 1))
    assert plan.root == (plan.node_count - 1 if count else None)
    assert plan.root is None or plan.parent_of_node(plan.root) is None

"""Whatever a workflow is made of: where it holds, no marked value goes to a public pool."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from headrace.orchestrator.core.graph import compile_workflow
from headrace.schemas.base import Sensitivity
from headrace.schemas.errors import WorkflowInvalid
from headrace.schemas.messages import Result, Task
from tests.world import POOLS, World, echo

SEEDS = 400
PUBLIC = ("large",)
MASKED = "masked"
VALUES = {
    "a": "v-a",
    "b": "v-b",
    "deep": {"a": "v-deep-a", "b": "v-deep-b"},
    "rows": [{"a": "v-row-a", "b": "v-row-b"}, {"a": "v-row-a", "b": "v-row-b"}],
}
MARKS = {
    "v-a": ("a",),
    "v-deep-a": ("deep", "a"),
    "v-row-a": ("rows", "items", "a"),
    "v-row-b": ("rows", "items", "b"),
    "v-deep": ("deep",),
    "v-row": ("rows",),
}
"""How the values begin that are marked at a place of the schema."""
READS = (
    *("{{ input.a }}", "{{ input['b'] }}", "{{ input.deep.b }}", "{{ input.deep['a'] }}", "{{ input.deep }}"),
    *("{{ input | tojson }}", "{{ input.get('a') }}", "{{ input.deep.get('b') }}", "{{ input[input.b[2:]] }}"),
    *("{{ input.rows[0].b }}", "{{ input.rows[1]['a'] }}", "{{ input.rows[-1].b }}", "{{ input.rows | length }}"),
    "{% for row in input.rows %}{{ row.b }}{% endfor %}",
    "{% set other = input.deep %}{{ other.b }}",
    "{{ input.rows | map(attribute='b') | join(' ') }}",
    "{% if input.a %}yes{% endif %}",
    *("{{ input.rows }}", "plain"),
)
EACH = (
    "{{ item.a }}",
    "{{ item.b }}",
    "{{ item }}",
    "{{ item['b'] }} {{ index }}",
    "{{ input.b }}",
    "{{ input.rows }}",
)


def drawn(draws: Random) -> tuple[dict[str, Any], list[str]]:
    """Return a workflow, and the values that are marked in its input."""
    marks = draws.sample(list(MARKS), draws.choice((1, 1, 2)))
    schema: dict[str, Any] = {}
    for mark in marks:
        part = schema
        for name in MARKS[mark]:
            part = (
                part.setdefault("items", {})
                if name == "items"
                else part.setdefault("properties", {}).setdefault(name, {})
            )
        part["x-confidential"] = True
    steps: dict[str, Any] = {}
    for number in range(draws.choice((1, 2, 3))):
        steps[f"s{number}"] = _step(draws, list(steps))
    return {"name": "w", "version": 1, "input": schema, "steps": steps, "output": "x"}, marks


def _step(draws: Random, before: list[str]) -> dict[str, Any]:
    """Return a step that reads the input, its item, or steps before it."""
    step: dict[str, Any] = {}
    reads = (*READS, *(f"{{{{ {name} }}}}" for name in before for _ in range(3)))
    if draws.random() < 0.4:
        lists = [name for name in before if name in "s0"]
        step["for_each"] = draws.choice(("{{ input.rows }}", "{{ input['rows'] }}", "{{ input.rows[:1] }}"))
        reads = EACH if not lists or draws.random() < 0.7 else reads
    llm = {"pool": draws.choice(("small", "large")), "prompt": draws.choice(reads)}
    if draws.random() < 0.3:
        llm["system"] = draws.choice(reads)
    if draws.random() < 0.15:
        step["when"] = draws.choice(("{{ input.b }}", "{{ input.deep.b }}", "{{ input.rows | length > 1 }}"))
    if draws.random() < 0.2:
        step["sensitivity"] = draws.choice(("public", "confidential"))
    return {**step, "llm": llm}


def answered(task: Task, workflow: dict[str, Any]) -> Result:
    """Echo the prompt; what a step declassifies has nothing in it any more."""
    declassified = workflow["steps"][task.step].get("sensitivity") == "public"
    return echo(task).model_copy(update={"output": MASKED}) if declassified else echo(task)


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_no_marked_value_goes_to_a_public_pool(first: int) -> None:
    held = 0
    for seed in range(first, first + 50):
        workflow, marks = drawn(Random(seed))
        try:
            compile_workflow(workflow, pools=POOLS, public_pools=PUBLIC)
        except WorkflowInvalid:
            continue
        held += 1
        world = World(public_pools=PUBLIC)
        world.submit("j", workflow, VALUES)
        world.run(lambda task, workflow=workflow: answered(task, workflow))  # type: ignore[misc]
        for task in world.dispatched:
            assert task.call is not None
            text = " ".join(message.content for message in task.call.messages)
            leaked = any(mark in text for mark in marks)
            assert not (leaked and task.pool in PUBLIC), (seed, workflow, text)
            assert not leaked or task.sensitivity is Sensitivity.CONFIDENTIAL, (seed, workflow, text)
    assert held >= 10, "most of what is drawn is refused: it shows little"

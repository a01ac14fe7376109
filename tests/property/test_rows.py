"""Results that are decided in a row leave behind what the same results leave behind one by one."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.machine import answer
from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, Result, Usage
from tests.world import World, echo

STEPS: dict[str, Any] = {
    "first": {
        "for_each": "{{ input.items }}",
        "llm": {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8},
        "on_error": "skip",
        "retry": {"attempts": 1},
    },
    "second": {"for_each": "first", "llm": {"pool": "large", "prompt": "{{ item }}", "max_output_tokens": 8}},
}
WORKFLOW = {"name": "w", "version": 1, "steps": STEPS, "output": "{{ second }}"}

counts = st.fixed_dictionaries(
    {
        "usage": st.builds(Usage, input_tokens=st.integers(0, 100), output_tokens=st.integers(0, 3)),
        "cost_microusd": st.integers(0, 50),
        "model": st.sampled_from(["", "a", "b", "c" * 300, *(f"m{number}" for number in range(20))]),
        "call_ms": st.integers(0, 9),
    }
)
changes = st.one_of(  # One at a time: with several, nearly every result would be broken somehow.
    counts,
    st.sampled_from(["", "short", "x" * 1_025, "y" * 5_000, {"a": 1}, None, 7]).map(lambda text: {"output": text}),
    st.sampled_from(["job/first/999", "job/second/0", "job/first/00", "job/none/1", "other/first/0"]).map(
        lambda task_id: {"task_id": task_id}
    ),
    st.sampled_from(
        [
            {"attempt": 2},
            {"failure": Failure(kind=ErrorKind.AUTH, message="no"), "output": None},
            {"failure": Failure(kind=ErrorKind.INTERRUPTED, message="no"), "output": None, "unconfirmed": True},
            {"truncated": True},
            {"unconfirmed": True},
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 12), st.lists(st.tuples(st.integers(0, 30), st.none() | changes), max_size=40), st.integers(2, 9),
    st.booleans(),
)  # fmt: skip
def test_a_row_of_results_is_decided_as_one_after_the_other(
    items: int, said: list[tuple[int, dict[str, Any] | None]], most: int, limited: bool
) -> None:
    alone = World()
    limit = {"budget": {"tokens": 3_000}} if limited else {}
    alone.submit("job", WORKFLOW, {"items": [f"i{number}" for number in range(items)]}, **limit)
    alone.deal()
    # Every task's result, those of the second step among them once they are out, with what differs from the usual.
    results = [echo(task) for task in alone.tasks]
    results = [
        results[place % len(results)].model_copy(update=change or {}) for place, change in said if results
    ] + results
    together = copy.deepcopy(alone, {id(alone.environment): alone.environment})
    for result in results:
        alone.result(result)
    in_rows(together, results, most)
    assert together.records == alone.records
    assert together.effects == alone.effects


def in_rows(world: World, results: list[Result], most: int) -> int:
    """Decide results as the shell does; return how many were decided together."""
    at = rows = 0
    while at < len(results):
        decision, count = answer(world.view("job"), results[at : at + most], world.now_ms)
        assert not decision.effects
        assert bool(decision.changes) == bool(count)
        for key, record in decision.changes.items():
            assert record is not None
            world.records[key] = decode_record(key, encode_record(record))
        rows, at = rows + count, at + count
        if not count:
            world.result(results[at])
            at += 1
    return rows


def test_usual_results_are_decided_together_all_but_the_last_of_the_step() -> None:
    world = World()
    world.submit("job", WORKFLOW, {"items": list(range(20))})
    world.deal()
    assert in_rows(world, [echo(task) for task in world.tasks], 7) == 19

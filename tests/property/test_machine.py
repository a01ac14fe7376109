"""Laws of `machine.step`, over random jobs, orders, repeats and failures."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.record_codec import decode_record, encode_record
from headrace.orchestrator.core.retry import DEFAULTS
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.schemas.errors import KINDS, ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from tests.world import World, echo

MOST_BY_DEFAULT = max(policy.attempts for policy in DEFAULTS.values())
FAILURES = [ErrorKind.RATE_LIMITED, ErrorKind.NETWORK, ErrorKind.AUTH, ErrorKind.BAD_REQUEST]


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """A fan-out, perhaps a second one over the first, perhaps a tree, perhaps a last call."""
    steps: dict[str, Any] = {
        "first": {
            "for_each": "{{ input.items }}",
            "llm": {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8},
            "retry": {"attempts": draw(st.integers(1, 3))},
            "max_in_flight": draw(st.integers(1, 30)),
        }
    }
    if draw(st.booleans()):
        steps["first"]["on_error"] = draw(st.sampled_from(["fail", "skip", {"default": "?"}]))
    else:
        steps["first"]["require"] = {"share": draw(st.sampled_from([0.5, 0.9]))}
    last = "first"
    if draw(st.booleans()):
        steps["second"] = {
            "for_each": "first",
            "llm": {"pool": "large", "prompt": "{{ item }}", "max_output_tokens": 8},
        }
        last = "second"
    if draw(st.booleans()):
        steps["tree"] = {
            "reduce": last,
            "fan_in": draw(st.integers(2, 4)),
            "llm": {"pool": "large", "prompt": "{% for n in items %}{{ n }} {% endfor %}", "max_output_tokens": 8},
        }
        last = "tree"
    return {"name": "w", "version": 1, "steps": steps, "output": f"{{{{ {last} }}}}"}


def answers(seed: int, share: float) -> Any:
    """An answer for each (task, attempt), the same in any order."""

    def answer(task: Task) -> Result:
        drawn = random.Random(f"{seed}/{task.task_id}/{task.attempt}")
        if drawn.random() >= share:
            return echo(task)
        failure = Failure(kind=drawn.choice(FAILURES), message="scripted")
        return echo(task).model_copy(update={"failure": failure, "output": None})

    return answer


def run(workflow: dict[str, Any], items: int, seed: int, share: float, order: int, **fields: Any) -> World:
    world = World()
    world.submit("job", workflow, {"items": [f"i{number}" for number in range(items)]}, **fields)
    world.run(answers(seed, share), shuffle=random.Random(order), repeat=bool(order % 2))
    return world


@settings(max_examples=40, deadline=None)
@given(workflows(), st.integers(0, 25), st.integers(0, 1_000))
def test_without_failures_the_order_of_results_changes_nothing(workflow: dict[str, Any], items: int, seed: int) -> None:
    first, second = run(workflow, items, seed, 0.0, 2), run(workflow, items, seed, 0.0, 5)
    for world in (first, second):
        outcome = world.outcome("job")
        assert outcome.status is JobStatus.SUCCEEDED
        assert outcome.receipt.attempts == len(world.dispatched) == outcome.receipt.tasks
    assert first.outcome("job").output == second.outcome("job").output


@settings(max_examples=60, deadline=None)
@given(workflows(), st.integers(0, 25), st.integers(0, 1_000), st.sampled_from([0.1, 0.5]), st.integers(0, 5))
def test_every_job_ends_once_and_leaves_nothing(
    workflow: dict[str, Any], items: int, seed: int, share: float, order: int
) -> None:
    world = run(workflow, items, seed, share, order)
    outcome = world.outcome("job")
    assert outcome.status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]
    asked = [(task.task_id, task.attempt) for task in world.dispatched]
    assert len(asked) == len(set(asked)), "no attempt is asked for twice"
    if outcome.reason is not None:
        assert outcome.reason in KINDS
    for task_id, attempt in asked:
        given = workflow["steps"][task_id.split("/")[1]].get("retry", {}).get("attempts", MOST_BY_DEFAULT)
        assert attempt <= given


@settings(max_examples=40, deadline=None)
@given(workflows(), st.integers(0, 25), st.integers(0, 1_000), st.sampled_from([0.0, 0.3]), st.integers(0, 5))
def test_the_same_log_gives_the_same_effects(
    workflow: dict[str, Any], items: int, seed: int, share: float, order: int
) -> None:
    first, second = run(workflow, items, seed, share, order), run(workflow, items, seed, share, order)
    assert first.effects == second.effects
    assert first.records == second.records


def retries_that_do_not_fit() -> dict[str, Any]:
    """A job that once stood still for ever: its last retry did not fit, and nothing else was out to wake it."""
    llm = {"pool": "small", "prompt": "{{ item }}", "max_output_tokens": 8}
    first = {"for_each": "{{ input.items }}", "llm": llm, "retry": {"attempts": 2}, "max_in_flight": 2}
    return {
        "name": "w",
        "version": 1,
        "steps": {"first": {**first, "require": {"share": 0.5}}},
        "output": "{{ first }}",
    }


@settings(max_examples=40, deadline=None)
@given(workflows(), st.integers(1, 25), st.integers(0, 1_000), st.sampled_from([0.0, 0.3]), st.integers(80, 3_000))
@example(retries_that_do_not_fit(), 7, 0, 0.3, 134)
def test_a_budget_is_never_overspent(
    workflow: dict[str, Any], items: int, seed: int, share: float, tokens: int
) -> None:
    world = World()
    world.submit("job", workflow, {"items": [f"i{n}" for n in range(items)]}, budget={"tokens": tokens})
    worst = 0

    def answer(task: Task) -> Result:
        nonlocal worst
        header = world.records.get(job_key("job"))
        if isinstance(header, JobHeader):  # A small job is closed as it ends.
            assert header.reserved_tokens <= tokens
        worst += 1
        return answers(seed, share)(task)

    world.run(answer)
    outcome = world.outcome("job")
    usage = outcome.receipt.usage
    assert usage.input_tokens + usage.output_tokens <= tokens
    assert outcome.receipt.attempts <= worst
    for key, record in world.records.items():
        assert decode_record(key, encode_record(record)) == record

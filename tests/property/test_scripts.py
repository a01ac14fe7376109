"""Laws of steps that decide as they go: whatever the answers and their order, bounded, ended, and the same again."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from tests.answers import reply, text
from tests.patterns import answer_to, draw_pattern
from tests.world import POOLS, World

FAILURES = (ErrorKind.RATE_LIMITED, ErrorKind.MALFORMED_OUTPUT, ErrorKind.BAD_REQUEST, ErrorKind.INTERRUPTED)
SEEDS = st.integers(0, 100_000)
SHARES = st.sampled_from([0.0, 0.2, 0.6])


def workflow(seed: int) -> dict[str, Any]:
    draws = random.Random(f"workflow/{seed}")
    pools = ("small", "large")
    steps = {"s": draw_pattern(draws, "{{ input.items }}", pools, embed="embed")}
    if draws.random() < 0.5:
        steps["t"] = draw_pattern(draws, "{{ s }}", pools, embed="embed")
    return {"name": "w", "version": 1, "steps": steps, "output": {name: f"{{{{ {name} }}}}" for name in steps}}


def answers(seed: int, share: float) -> Any:
    """An answer for each (task, attempt), the same in any order."""

    def answer(task: Task) -> Result:
        drawn = random.Random(f"{seed}/{task.task_id}/{task.attempt}")
        if drawn.random() < share:
            failure = Failure(kind=drawn.choice(FAILURES), message="scripted")
            return reply(task, None, tokens=(0, 0)).model_copy(update={"failure": failure})
        if task.embed is not None:
            scores = {each.route: round(drawn.random(), 4) for each in task.embed.examples}
            return reply(task, {"scores": [scores]}, tokens=(5, 0))
        assert task.call is not None
        schema = task.call.output_schema
        output = answer_to(schema, drawn) if schema is not None else drawn.choice(("yes", "no", text(task)[:20]))
        return reply(task, output, confidence=drawn.random() if task.call.logprobs else None, tokens=(5, 2))

    return answer


class Watched(World):
    """A world that looks at the counters of every decision."""

    forgetful = False

    def take(self, job_id: str, event: Any) -> Any:
        before = self.records.get(job_key(job_id))
        decision = super().take(job_id, event)
        after = self.records.get(job_key(job_id))
        if isinstance(before, JobHeader) and isinstance(after, JobHeader):
            for name, state in after.steps:
                assert state.total >= before.step(name).total, "a total only grows"
                assert state.ended + state.live + state.retrying <= state.total
        if self.forgetful:
            self.memos.clear()  # As after a restart.
        return decision


def conversation(seed: int, share: float, order: int, *, forgetful: bool = False) -> Watched:
    """Play turns of a session whose classifiers are remembered for less than all of them take."""
    spec, world = workflow(seed), Watched()
    for step in spec["steps"].values():
        step.get("route", {}).get("classifier", {})["remember_s"] = 1
    world.forgetful = forgetful
    for turn in range(3):
        world.submit(f"s::{turn}", spec, {"items": ["a"] * (seed % 5)})
        world.submit(f"s::{turn}b", spec, {"items": []})
        world.run(answers(seed, share), shuffle=random.Random(order))
        world.now_ms += 600
    return world


def run(seed: int, share: float, order: int, *, forgetful: bool = False, **fields: Any) -> Watched:
    world = Watched()
    world.forgetful = forgetful
    world.submit("job", workflow(seed), {"items": ["a"] * (seed % 5)}, **fields)
    world.run(answers(seed, share), shuffle=random.Random(order), repeat=bool(order % 2))
    return world


@settings(max_examples=150, deadline=None)
@given(SEEDS, SHARES, st.integers(0, 5))
def test_every_job_ends_once_within_the_bounds_of_its_scripts_and_leaves_nothing(
    seed: int, share: float, order: int
) -> None:
    world = run(seed, share, order)
    assert world.outcome("job").status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]
    asked = [(task.task_id, task.attempt) for task in world.dispatched]
    assert len(asked) == len(set(asked)), "no attempt is asked for twice"
    graph = compile_workflow(workflow(seed), pools=POOLS)
    for step in graph.steps:
        assert step.script is not None
        tasks = {task.task_id for task in world.dispatched if task.step == step.name}
        assert len(tasks) <= step.script.most_calls


@settings(max_examples=60, deadline=None)
@given(SEEDS, SHARES, st.integers(0, 5))
def test_the_same_log_gives_the_same_effects_also_after_a_restart_at_any_moment(
    seed: int, share: float, order: int
) -> None:
    first, second = run(seed, share, order), run(seed, share, order, forgetful=True)
    assert first.effects == second.effects
    assert first.records == second.records


@settings(max_examples=60, deadline=None)
@given(SEEDS, SHARES, st.integers(0, 5))
def test_turns_that_remember_each_other_end_once_and_alike_after_a_restart(seed: int, share: float, order: int) -> None:
    first, second = conversation(seed, share, order), conversation(seed, share, order, forgetful=True)
    assert first.effects == second.effects
    assert first.records == second.records
    for job_id in [key.removeprefix("marker/") for key in first.records if key.startswith("marker/")]:
        first.outcome(job_id)
    assert {key.split("/")[0] for key in first.records} <= {"marker", "workflow", "routed"}


@settings(max_examples=80, deadline=None)
@given(SEEDS, SHARES, st.integers(60, 600))
def test_a_budget_is_never_overspent(seed: int, share: float, tokens: int) -> None:
    world = run(seed, share, 2, budget={"tokens": tokens})
    usage = world.outcome("job").receipt.usage
    assert usage.input_tokens + usage.output_tokens <= tokens


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(0, 5))
def test_money_on_the_receipt_is_the_sum_of_the_results_that_were_taken(seed: int, order: int) -> None:
    receipt = run(seed, 0.0, order).outcome("job").receipt
    assert receipt.usage.input_tokens == 5 * receipt.attempts

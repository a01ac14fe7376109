"""A workflow as a step of another: a job of its own that inherits what its parent may, and no more."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.catalogue import WorkflowsInvalid, build_catalogue
from headrace.orchestrator.core.effects import EmitOutcome, SetAside, SetTaskAside, SubmitNested
from headrace.orchestrator.core.events import CancelRequested, JobSubmitted, TaskRedriven, TimerFired
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.ids import nested_job_id
from headrace.schemas.messages import JobStatus, Submission
from tests.answers import refusal, reply, text
from tests.world import POOLS, World, echo


def call(prompt: str = "{{ input.word }}", **fields: Any) -> dict[str, Any]:
    return {"llm": {"pool": "small", "prompt": prompt, "max_output_tokens": 10}, **fields}


LEAF = {"name": "leaf", "version": 1, "steps": {"say": call("{{ input.word }}!")}, "output": "{{ say }}"}


def nesting(workflow: dict[str, Any], output: Any = "{{ s }}", **fields: Any) -> dict[str, Any]:
    return {"name": "w", "version": 1, "steps": {"s": {"workflow": workflow, **fields}}, "output": output}


ONE = nesting({"name": "leaf@1", "input": {"word": "{{ input.word }}"}})
EACH = nesting({"name": "leaf@1", "input": {"word": "{{ item }}"}}, for_each="{{ input.words }}")


def world(**workflows: dict[str, Any]) -> World:
    return World(workflows={"leaf@1": LEAF, **{f"{name}@1": each for name, each in workflows.items()}})


def submitted(found: World) -> list[Submission]:
    effects = [effect for effect in found.effects if isinstance(effect, SubmitNested)]
    return [effect.submission for effect in effects if effect.submission.type == "job"]


def test_a_nested_job_runs_and_its_output_is_the_steps() -> None:
    found = world()
    found.submit("j", ONE, {"word": "hi"}, tenant="t", labels={"a": "b"}, lane="interactive", priority=3)
    found.run()
    outcome = found.outcome("j")
    assert (outcome.status, outcome.output) == (JobStatus.SUCCEEDED, "hi!")
    (below,) = submitted(found)
    assert below.job_id == nested_job_id("j/s/0", 1)
    assert below.job_id.startswith("j.s.0.")
    assert (below.tenant, below.labels, below.lane.value, below.priority) == ("t", {"a": "b"}, "interactive", 3)
    assert not [each for each in found.effects if isinstance(each, EmitOutcome) and each.job_id != "j"]
    pool = outcome.receipt.pools["workflow leaf@1"]
    assert (pool.tasks, pool.attempts, pool.usage.output_tokens, pool.cost_microusd) == (1, 1, 2, 3)
    assert sorted(key.split("/")[0] for key in found.records) == ["marker", "marker", "workflow", "workflow"]


@pytest.mark.parametrize("repeat", [False, True])
def test_one_nested_job_an_item_in_the_order_of_the_items(repeat: bool) -> None:
    found = world()
    found.submit("j", EACH, {"words": ["a", "b", "c"]})
    found.run(repeat=repeat)
    assert found.outcome("j").output == ["a!", "b!", "c!"]
    assert len(found.dispatched) == 3


def test_a_workflow_can_be_written_out_and_nest_further() -> None:
    inner = nesting({"name": "leaf@1", "input": {"word": "{{ input.x }}?"}})
    found = world()
    below = {"steps": inner["steps"], "output": inner["output"]}
    found.submit("j", nesting({"inline": below, "input": {"x": "{{ input.word }}"}}), {"word": "hi"})
    found.run()
    assert found.outcome("j").output == "hi?!"
    parents = [each.parent for each in submitted(found)]
    assert [parent.depth for parent in parents if parent is not None] == [1, 2]


def test_what_fails_below_fails_the_step_and_says_why() -> None:
    found = world()
    found.submit("j", ONE, {"word": "hi"})
    found.run(lambda task: refusal(task, ErrorKind.BAD_REQUEST))
    outcome = found.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.BAD_REQUEST)
    assert "step s failed: nested job j.s.0." in outcome.message
    assert len([each for each in found.effects if isinstance(each, SetTaskAside)]) == 1, "the leaf's, and no other"
    found = world()
    found.submit(
        "j", {**EACH, "steps": {"s": {**EACH["steps"]["s"], "require": {"at_least": 1}}}}, {"words": ["a", "b"]}
    )
    found.run(lambda task: echo(task) if text(task) == "a!" else refusal(task))
    outcome = found.outcome("j")
    assert (outcome.output, outcome.partial, outcome.failed_items_total) == (["a!", None], True, 1)


def test_all_of_it_is_done_once_more_only_where_the_step_says_so() -> None:
    once_more = {**ONE, "steps": {"s": {**ONE["steps"]["s"], "retry": {"attempts": 2, "backoff_ms": 1}}}}
    for workflow, jobs in ((ONE, 1), (once_more, 2)):
        found = world()
        found.submit("j", workflow, {"word": "hi"})
        found.run(lambda task: refusal(task, ErrorKind.MALFORMED_OUTPUT))
        assert len({each.job_id for each in submitted(found)}) == jobs
        assert found.outcome("j").reason is ErrorKind.MALFORMED_OUTPUT


def test_cancel_goes_down() -> None:
    found = world()
    found.submit("j", EACH, {"words": ["a", "b"]})
    found.deal()
    while found.posted:
        found.deliver()
    found.deal()
    assert len(found.tasks) == 2
    found.take("j", CancelRequested(0))
    assert found.outcome("j").status is JobStatus.CANCELLED
    assert found.outcome("j").receipt.unconfirmed.attempts == 2
    found.run(lambda task: refusal(task, ErrorKind.CANCELLED))
    headers = [key for key in found.records if key.startswith("job/")]
    assert not headers, "nothing runs any more"


def test_deadline_and_sensitivity_are_inherited() -> None:
    found = world()
    deadline = datetime.fromtimestamp(found.now_ms / 1_000 + 60, tz=UTC)
    timed = {**ONE, "steps": {"s": {**ONE["steps"]["s"], "timeout_s": 5}}}
    for name, workflow, after_ms in (("a", ONE, 60_000), ("b", timed, 5_000)):
        found.submit(name, workflow, {"word": "hi"}, deadline=deadline, sensitivity="confidential")
        found.deal()
        below = submitted(found)[-1]
        assert below.sensitivity == "confidential"
        assert below.deadline is not None
        assert int(below.deadline.timestamp() * 1_000) == found.now_ms + after_ms
    while found.posted:
        found.deliver()
    key = job_key(nested_job_id("b/s/0", 1))
    found.now_ms += 5_000
    found.take(key.removeprefix("job/"), TimerFired(key))
    while found.posted:
        found.deliver()
    assert found.outcome("b").reason is ErrorKind.TIMEOUT


def test_a_budget_is_shared_out_and_never_widened() -> None:
    found = world()
    found.submit("j", EACH, {"words": ["a", "b", "c", "d"]}, budget={"tokens": 400})
    found.deal()
    assert [each.budget.tokens for each in submitted(found) if each.budget] == [100, 100, 100, 100]
    header = found.records[job_key("j")]
    assert isinstance(header, JobHeader)
    assert header.reserved_tokens == 400
    found.run()
    receipt = found.outcome("j").receipt
    assert receipt.usage.input_tokens + receipt.usage.output_tokens == 48


def test_a_budget_that_is_said_is_kept_to_and_what_does_not_fit_waits() -> None:
    said = {"name": "leaf@1", "input": {"word": "{{ item }}"}, "budget": {"tokens": 100}}
    found = world()
    found.submit("j", nesting(said, for_each="{{ input.words }}"), {"words": ["a", "b"]}, budget={"tokens": 150})
    found.deal()
    assert len(submitted(found)) == 1
    found.run()
    assert found.outcome("j").output == ["a!", "b!"]
    found = world()
    found.submit("j", nesting({**said, "budget": {"tokens": 5}}, for_each="{{ input.words }}"), {"words": ["a"]})
    found.run()
    assert found.outcome("j").reason is ErrorKind.BUDGET_EXCEEDED


def test_what_below_could_never_run_is_refused_at_once() -> None:
    unbounded = {"name": "free", "version": 1, "steps": {"say": {"llm": {"pool": "small", "prompt": "x"}}}}
    found = world(free=unbounded, circle=nesting({"name": "circle@1"}))
    found.public_pools = ("small",)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("a", {}, "unknown"),
        ("free", {"budget": {"tokens": 5}}, "w@1/s/free@1: a budget needs max_output_tokens"),
        ("circle", {}, "nests deeper than 3"),
    ]
    for name, fields, said in cases:
        found.submit(name, nesting({"name": f"{name}@1"}), **fields)
        outcome = found.outcome(name)
        assert outcome.status is JobStatus.REJECTED
        assert said in outcome.message or "no workflow" in outcome.message
    found = World(workflows={"leaf@1": LEAF}, public_pools=("small",))
    found.submit("j", ONE, {"word": "hi"}, sensitivity="confidential")
    assert "w@1/s/leaf@1: a confidential job cannot use" in found.outcome("j").message


def test_an_input_that_does_not_fit_below_fails_the_step() -> None:
    strict = {**LEAF, "name": "strict", "input": {"type": "object", "required": ["other"]}}
    found = world(strict=strict)
    found.submit("j", nesting({"name": "strict@1", "input": {"word": "x"}}))
    found.run()
    outcome = found.outcome("j")
    assert outcome.reason is ErrorKind.INVALID_INPUT
    assert "rejected: the input does not fit strict@1" in outcome.message


def test_a_nested_id_that_somebody_took_is_answered() -> None:
    found = world()
    found.submit(nested_job_id("j/s/0", 1), LEAF, {"word": "mine"})
    found.submit("j", ONE, {"word": "hi"})
    found.run()
    assert found.outcome("j").reason is ErrorKind.INVALID_JOB
    assert found.outcome(nested_job_id("j/s/0", 1)).output == "mine!"


def test_a_nested_job_is_not_redriven_and_a_repeat_of_it_repeats_its_answer() -> None:
    found = world()
    lenient = {**EACH, "steps": {"s": {**EACH["steps"]["s"], "require": {"at_least": 1}}, "t": call("{{ s }}")}}
    found.submit("j", lenient, {"words": ["a", "b"]})
    found.deal()
    posted = [effect for effect in found.posted if isinstance(effect, SubmitNested)]
    while found.posted:
        found.deliver()
    found.deal()
    found.result(refusal(found.tasks.pop(0)))
    while found.posted:
        found.deliver()
    decision = found.take("j", TaskRedriven("j/s/0"))
    assert any(isinstance(effect, SetAside) and "not sent back" in effect.message for effect in decision.effects)
    again = posted[0].submission
    found.take(posted[0].job_id, JobSubmitted(again, submission_hash(again), found.now_ms))
    assert len(found.posted) == 1
    before = found.outcomes("j")
    found.deliver()
    assert found.outcomes("j") == before
    found.run(lambda task: reply(task, "end"))
    assert found.outcome("j").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        ({"workflow": {"name": "leaf"}}, "steps.s.workflow.name", "say which version"),
        ({"workflow": {"name": "Leaf@x"}}, "steps.s.workflow.name", "is not name@version"),
        ({"workflow": {}}, "steps.s.workflow", "needs either name, or inline"),
        ({"workflow": {"name": "leaf@1", "input": {"a": "{{ inptu }}"}}}, "steps.s.workflow.input.a", "'input'?"),
        ({"workflow": {"inline": {"steps": {"t": {"lm": {}}}}}}, "steps.s.workflow.inline.steps.t.lm", "'llm'?"),
        ({"workflow": {"name": "leaf@1"}, "reduce": "{{ input.x }}"}, "steps.s", "do not go together"),
        ({"workflow": {"name": "leaf@1"}, "llm": {"pool": "small", "prompt": "x"}}, "steps.s", "do not go together"),
    ],
)
def test_what_does_not_hold_is_found_when_the_workflow_is_checked(step: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow({"name": "w", "version": 1, "steps": {"s": step}, "output": "x"}, pools=POOLS)
    assert path in [problem.path for problem in caught.value.problems if said in problem.message]


def test_workflows_that_are_written_out_nest_three_deep_and_share_the_count_of_templates() -> None:
    document = LEAF
    for _ in range(3):
        document = nesting({"inline": document, "input": {"word": "x"}})
    compile_workflow(document, pools=POOLS)
    with pytest.raises(WorkflowInvalid, match="nest deeper than 3"):
        compile_workflow(nesting({"inline": document}), pools=POOLS)
    many = {"steps": {f"t{n}": call("{{ input.a }}") for n in range(150)}, "output": "x"}
    wide = {"name": "w", "version": 1, "steps": {f"s{n}": {"workflow": {"inline": many}} for n in range(4)}}
    with pytest.raises(WorkflowInvalid, match="more than 500 templates"):
        compile_workflow(wide, pools=POOLS)


def test_a_catalogue_looks_for_what_its_workflows_nest() -> None:
    with pytest.raises(WorkflowsInvalid) as caught:
        build_catalogue(
            [("w.yaml", json.dumps(nesting({"name": "laef@1"}))), ("leaf.yaml", json.dumps(LEAF))], pools=POOLS
        )
    assert "did you mean 'leaf'?" in str(caught.value)
    assert build_catalogue([("w.yaml", json.dumps(ONE)), ("leaf.yaml", json.dumps(LEAF))], pools=POOLS).refs()

"""A saga calls services in order; what fails undoes what was done, and its job does not end before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.orchestrator.core.effects import PublishControl, SetTaskAside
from headrace.orchestrator.core.events import CancelRequested, JobBroke, TimerFired
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.state import JobHeader, job_key
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import Failure, JobStatus, Result, Task
from headrace.schemas.pools import PoolsFile
from tests.answers import events, workflow
from tests.world import POOLS, World

SERVICES = ("authorise", "risk", "capture", "release", "unrisk", "refund")
URL = "https://pay.example.org/"
FILE = PoolsFile.model_validate(
    {
        "tools": {
            **{name: {"kind": "http", "method": "POST", "url": URL, "idempotent": True} for name in SERVICES},
            "send": {"kind": "http", "method": "POST", "url": URL},
        }
    }
)
SAGA = [
    {
        "name": "auth",
        "tool": {"name": "authorise", "arguments": {"amount": "{{ input.amount }}"}},
        "compensate": {"name": "release", "arguments": {"id": "{{ auth.id }}"}},
    },
    {"name": "check", "tool": {"name": "risk", "arguments": {"auth": "{{ auth.id }}"}}},
    {
        "name": "take",
        "tool": {"name": "capture", "arguments": {"auth": "{{ auth.id }}"}},
        "compensate": {"name": "refund", "arguments": {"id": "{{ take.id }}"}},
    },
    {"name": "tell", "tool": {"name": "send", "arguments": {"id": "{{ take.id }}"}}},
]
STEP = {"saga": SAGA, "retry": {"attempts": 2, "backoff_ms": 10}}


def made(step: Any = STEP, output: Any = "{{ s }}", *, price: int = 0, **fields: Any) -> World:
    tools = {name: tool.model_copy(update={"price_microusd": price}) for name, tool in FILE.tools.items()}
    world = World(pools={**POOLS, **FILE.pools}, tools=tools)
    steps = fields.pop("steps", {})
    world.submit("j", workflow(step, output, **steps), {"amount": 5}, **fields)
    return world


def called(task: Task) -> str:
    assert task.tool is not None
    return task.tool.tool


def answer(task: Task, kind: ErrorKind | None = None, **fields: Any) -> Result:
    failure = None if kind is None else Failure(kind=kind, message="no")
    output = None if failure else {"id": f"{called(task)}-1"}
    return Result(
        task_id=task.task_id, job_id=task.job_id, attempt=task.attempt, output=output, failure=failure, **fields
    )


def failing(*names: str, kind: ErrorKind = ErrorKind.BAD_REQUEST) -> Any:
    return lambda task: answer(task, kind if called(task) in names else None)


def calls(world: World) -> list[str]:
    return [called(task) for task in world.dispatched]


def step_to(world: World, name: str) -> Task:
    """Answer until a tool is called; return its task, unanswered."""
    while True:
        world.deal()
        task = world.tasks.pop(0)
        if called(task) == name:
            return task
        world.result(answer(task))


def test_calls_go_forward_in_order_and_know_what_came_before() -> None:
    world = made()
    world.run(answer)
    assert calls(world) == ["authorise", "risk", "capture", "send"]
    assert [task.tool.arguments for task in world.dispatched if task.tool] == [
        {"amount": 5}, {"auth": "authorise-1"}, {"auth": "authorise-1"}, {"id": "capture-1"},
    ]  # fmt: skip
    assert world.outcome("j").output["take"] == {"id": "capture-1"}


@pytest.mark.parametrize(
    ("fails", "undone"),
    [("authorise", []), ("risk", ["release"]), ("capture", ["release"]), ("send", ["refund", "release"])],
)
def test_where_one_fails_for_good_those_before_it_are_undone_the_last_first(fails: str, undone: list[str]) -> None:
    world = made()
    world.run(failing(fails))
    forward = ["authorise", "risk", "capture", "send"]
    assert calls(world) == [*forward[: forward.index(fails) + 1], *undone]
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.BAD_REQUEST)
    names = {"refund": "take", "release": "auth"}
    told = f"; compensated: {', '.join(names[each] for each in undone)}" if undone else ""
    assert outcome.message.endswith(f"failed: no{told}")
    assert [each["name"] for each in events(world, "saga.compensated")] == [names[each] for each in undone]
    pattern = outcome.receipt.steps["s"].pattern
    assert pattern is not None
    assert (pattern.compensated, pattern.uncompensated) == (len(undone), 0)
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]


def test_a_compensation_is_tried_again_and_one_that_fails_for_good_does_not_keep_the_rest_back() -> None:
    world = made()
    world.run(failing("send", "refund"))
    assert calls(world)[4:] == ["refund", "release"]
    outcome = world.outcome("j")
    assert "compensated: auth; compensation failed: take (see the dead letters)" in outcome.message
    assert events(world, "saga.compensation_failed") == [{"name": "take", "reason": "no"}]
    letters = [effect.task.task_id for effect in world.effects if isinstance(effect, SetTaskAside)]
    assert letters == ["j/s/4"]
    world = made()
    world.run(failing("send", "refund", kind=ErrorKind.OVERLOADED))
    assert calls(world)[3:] == ["send", "send", "refund", "refund", "release"]
    assert len({task.task_id for task in world.dispatched if called(task) == "refund"}) == 1, "one id, one effect"


def test_a_step_that_may_fail_lets_its_job_go_on() -> None:
    world = made({**STEP, "on_error": {"default": "undone"}})
    world.run(failing("capture"))
    outcome = world.outcome("j")
    assert (outcome.status, outcome.output, outcome.partial) == (JobStatus.SUCCEEDED, "undone", True)
    assert calls(world)[-1] == "release"


@pytest.mark.parametrize("at", ["authorise", "risk", "capture", "send"])
@pytest.mark.parametrize("good", [True, False])
def test_a_cancelled_job_waits_for_the_call_that_is_out_and_undoes_what_was_done(at: str, good: bool) -> None:
    world = made()
    task = step_to(world, at)
    world.take("j", CancelRequested(0))
    assert not world.outcomes("j"), "not before"
    assert not [effect for effect in world.effects if isinstance(effect, PublishControl)], "its calls go on"
    world.take("j", CancelRequested(0))
    world.result(answer(task, None if good else ErrorKind.BAD_REQUEST))
    world.run(answer)
    forward = ["authorise", "risk", "capture", "send"]
    done = forward[: forward.index(at) + good]
    expected = [{"authorise": "release", "capture": "refund"}[each] for each in reversed(done) if each[0] in "ac"]
    assert calls(world) == [*forward[: forward.index(at) + 1], *expected]
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.CANCELLED, ErrorKind.CANCELLED)
    assert outcome.message.startswith("cancelled on request")
    assert ("compensated: " in outcome.message) == bool(expected)
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]


def test_a_call_that_has_not_gone_out_goes_out_no_more() -> None:
    world = made()
    task = step_to(world, "authorise")
    world.result(answer(task))  # The next is ready, and nobody has given it room.
    world.take("j", CancelRequested(0))
    world.run(answer)
    assert calls(world) == ["authorise", "release"]
    world = made()
    world.take("j", CancelRequested(0))
    assert world.outcome("j").status is JobStatus.CANCELLED
    assert calls(world) == []


def test_a_deadline_that_passes_undoes_too_and_compensations_have_none() -> None:
    world = made(deadline=datetime.fromtimestamp(1_060, tz=UTC))
    task = step_to(world, "capture")
    world.now_ms += 60_000
    world.take("j", TimerFired(job_key("j")))
    header = world.records[job_key("j")]
    assert isinstance(header, JobHeader)
    assert header.due_ms is None
    world.result(answer(task, ErrorKind.DEADLINE_EXCEEDED))  # Its worker refused to begin.
    world.run(answer)
    assert calls(world)[-2:] == ["capture", "release"]
    assert world.dispatched[-1].not_after_ms is not None
    assert world.dispatched[-1].not_after_ms > world.now_ms
    assert world.outcome("j").status is JobStatus.EXPIRED


def test_another_step_that_fails_waits_for_the_saga_to_be_undone() -> None:
    other = {"llm": {"pool": "small", "prompt": "x"}, "retry": {"attempts": 1}}
    world = made(steps={"t": other, "u": {"llm": {"pool": "small", "prompt": "{{ t }}"}}})
    world.deal()
    first = {task.step: task for task in world.tasks}
    world.tasks.clear()
    no = Failure(kind=ErrorKind.BAD_REQUEST, message="no")
    world.result(Result(task_id="j/t/0", job_id="j", attempt=1, failure=no))
    assert not world.outcomes("j")
    world.result(answer(first["s"]))
    world.run(answer)
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.BAD_REQUEST)
    assert outcome.message == "step t failed: no; saga s: its job ended; compensated: auth"
    assert {task.step for task in world.dispatched} == {"s", "t"}


def test_a_budget_that_is_used_up_undoes_and_pays_for_that() -> None:
    world = made(price=10, budget={"microusd": 25})
    world.run(lambda task: answer(task, cost_microusd=10))
    assert calls(world) == ["authorise", "risk", "release"]
    outcome = world.outcome("j")
    assert outcome.reason is ErrorKind.BUDGET_EXCEEDED
    assert outcome.receipt.cost_microusd == 30, "undoing goes before the budget"


def test_a_job_that_breaks_ends_at_once_and_says_that_nothing_was_undone() -> None:
    world = made()
    step_to(world, "capture")
    world.take("j", CancelRequested(0))
    world.take("j", JobBroke("cannot be decided"))
    assert "saga s was not undone" in world.outcome("j").message
    assert events(world, "saga.abandoned") == [{}]


@pytest.mark.parametrize(
    ("saga", "path", "said"),
    [
        ([], "steps.s.saga", "at least 1"),
        ([SAGA[0], SAGA[0]], "steps.s.saga.1.name", "stands in this saga already"),
        ([{"name": "x", "tool": {"name": "captur"}}], "steps.s.saga.0.tool.name", "did you mean 'capture'?"),
        ([{**SAGA[1], "compensate": {"name": "send"}}], "steps.s.saga.0.compensate", "must be repeatable"),
        ([{"name": "x", "tool": {"name": "risk", "arguments": {"a": "{{ later }}"}}}, {**SAGA[1], "name": "later"}],
         "steps.s.saga.0.tool.arguments.a", "unknown reference 'later'"),
        ([{"name": "input", "tool": {"name": "risk"}}], "steps.s.saga.0.name", "has a meaning in templates"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_found_when_the_workflow_is_checked(saga: Any, path: str, said: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow(workflow({"saga": saga}), pools={**POOLS, **FILE.pools}, tools=FILE.tools)
    assert path in [problem.path for problem in caught.value.problems if said in problem.message]

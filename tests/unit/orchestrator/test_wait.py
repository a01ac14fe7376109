"""A step waits for a signal: kept when it comes early, set aside when it does not fit, and not for ever."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.orchestrator.core.effects import Ignore, SetAside
from headrace.orchestrator.core.events import CancelRequested, Signalled, TimerFired
from headrace.orchestrator.core.graph import compile_workflow
from headrace.orchestrator.core.kept_signal import KeptSignal, signal_key
from headrace.schemas.errors import ErrorKind, WorkflowInvalid
from headrace.schemas.messages import JobStatus
from tests.answers import events, workflow
from tests.world import POOLS, World

SCHEMA = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
DRAFT = {"llm": {"pool": "small", "prompt": "draft"}}


def wait(**fields: Any) -> dict[str, Any]:
    return {"wait": {"signal": "approve", "timeout_s": 60, **fields}}


def begun(step: dict[str, Any], output: Any = "{{ s }}", **steps: Any) -> World:
    world = World()
    world.submit("j", workflow(step, output, **steps))
    return world


def signal(world: World, payload: Any = None, name: str = "approve") -> str:
    """Send a signal; return why it was not taken, or nothing."""
    decision = world.take("j", Signalled(name, payload))
    refused = [effect for effect in decision.effects if isinstance(effect, Ignore | SetAside)]
    assert not (refused and decision.changes)
    return refused[0].reason if refused else ""


def pass_time(world: World, ms: int) -> None:
    world.now_ms += ms
    world.take("j", TimerFired(signal_key("j", "s")))


def test_the_step_is_done_when_its_signal_comes_and_its_payload_is_the_output() -> None:
    world = begun(wait(schema=SCHEMA))
    assert events(world, "wait.started") == [{"signal": "approve", "until_ms": world.now_ms + 60_000}]
    assert not world.tasks
    assert signal(world, {"ok": True}) == ""
    world.close()
    outcome = world.outcome("j")
    assert (outcome.status, outcome.output, outcome.partial) == (JobStatus.SUCCEEDED, {"ok": True}, False)
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]


def test_a_signal_that_comes_before_its_step_is_kept() -> None:
    world = begun({**wait(), "after": ["draft"]}, ["{{ draft }}", "{{ s }}"], draft=DRAFT)
    assert signal(world, "yes") == ""
    assert events(world, "wait.started") == []
    assert signal(world, "no") == "repeated_signal"
    world.run()
    assert world.outcome("j").output == ["draft", "yes"]


def test_a_payload_that_does_not_fit_is_set_aside_and_the_step_waits_on() -> None:
    world = begun(wait(schema=SCHEMA))
    assert signal(world, {"ok": "perhaps"}) == "invalid_signal"
    assert signal(world, "\ud800") == "invalid_signal"
    assert signal(world, {"ok": True}, name="aprove") == "unknown_signal"
    said = [effect.message for effect in world.effects if isinstance(effect, SetAside)]
    assert "ok: " in said[0]
    assert "did you mean 'approve'?" in said[-1]
    assert signal(world, {"ok": False}) == ""
    assert world.outcome("j").output == {"ok": False}


@pytest.mark.parametrize(
    ("on_timeout", "output"), [("skip", None), ({"default": {"ok": False}}, {"ok": False})], ids=["skip", "default"]
)
def test_when_its_time_is_over_the_step_does_what_it_says(on_timeout: Any, output: Any) -> None:
    later = {"llm": {"pool": "small", "prompt": "{{ s }}"}}
    world = begun(wait(on_timeout=on_timeout), ["{{ s }}", "{{ t }}"], t=later)
    pass_time(world, 59_999)
    assert events(world, "wait.timed_out") == []
    pass_time(world, 1)
    assert signal(world, "late") == "signal_too_late"
    world.run()
    outcome = world.outcome("j")
    assert (outcome.status, outcome.output[0], outcome.partial) == (JobStatus.SUCCEEDED, output, True)
    assert signal(world, "later still") == "job_over"


def test_by_default_a_job_fails_that_waited_in_vain() -> None:
    world = begun(wait())
    pass_time(world, 60_000)
    outcome = world.outcome("j")
    assert (outcome.status, outcome.reason) == (JobStatus.FAILED, ErrorKind.TIMEOUT)
    assert "no signal 'approve' within 60 s" in outcome.message
    pass_time(world, 1)
    world.close()
    assert signal(world, "late") == "job_over"
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]


def test_a_large_payload_lies_in_the_object_store() -> None:
    world = begun(wait())
    assert signal(world, "x" * 10_000) == ""
    record = world.records.get(signal_key("j", "s"))
    assert record is None or (isinstance(record, KeptSignal) and record.payload_ref is not None)
    assert world.outcome("j").output == "x" * 10_000


def test_a_skipped_wait_takes_no_signal_and_a_cancelled_job_waits_no_longer() -> None:
    world = begun({**wait(), "when": "{{ false }}"}, "{{ t }}", t=DRAFT)
    assert signal(world, 1) == "signal_too_late"
    world = begun(wait())
    world.take("j", CancelRequested(0))
    world.close()
    assert world.outcome("j").status is JobStatus.CANCELLED
    assert sorted(key.split("/")[0] for key in world.records) == ["marker", "workflow"]


def test_a_list_that_a_signal_brings_is_a_source() -> None:
    each = {"for_each": "s", "llm": {"pool": "small", "prompt": "{{ item }}"}}
    world = begun(wait(schema={"type": "array"}), "{{ t }}", t=each)
    signal(world, ["a", "b"])
    world.run()
    assert world.outcome("j").output == ["a", "b"]


@pytest.mark.parametrize(
    ("steps", "path", "said"),
    [
        ({"s": {"wait": {"signal": "a"}}}, "steps.s.wait", "'timeout_s' is missing"),
        ({"s": {**wait(), "retry": {"attempts": 2}}}, "steps.s.retry", "belongs to steps that have tasks"),
        ({"s": {**wait(), "on_error": "skip"}}, "steps.s.on_error", "say on_timeout"),
        ({"s": {**wait(), "llm": DRAFT["llm"]}}, "steps.s", "do not go together"),
        ({"s": wait(), "t": wait()}, "steps.t.wait.signal", "step 's' waits for 'approve' already"),
        ({"s": {**wait(), "after": ["drft"]}, "draft": DRAFT}, "steps.s.after.0", "did you mean 'draft'?"),
        ({"s": wait(schema={"type": "thing"})}, "steps.s.wait.schema", "not a valid JSON Schema"),
        ({"s": wait(on_timeout="retry")}, "steps.s.wait.on_timeout", "use fail, skip or"),
        ({"s": wait(timeout=3)}, "steps.s.wait.timeout", "did you mean 'timeout_s'?"),
        ({"s": {**wait(), "after": ["t"]}, "t": {**DRAFT, "after": ["s"]}}, "steps.s", "a cycle"),
    ],
)
def test_what_does_not_hold_is_found_when_the_workflow_is_checked(steps: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(WorkflowInvalid) as caught:
        compile_workflow({"name": "w", "version": 1, "steps": steps, "output": "x"}, pools=POOLS)
    assert [problem.path for problem in caught.value.problems if said in problem.message] == [path]

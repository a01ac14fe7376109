"""``headrace workflow test``: cases played through the real core: answers, time, money, and the same every time."""

import json
import time
from random import Random
from typing import Any

import pytest
import yaml

from headrace.console.testing.answering import Answerer
from headrace.console.testing.driver import Draws
from headrace.console.testing.files import load_tests
from headrace.console.testing.runner import run_case
from headrace.console.testing.script import Script
from headrace.schemas.errors import KINDS, ErrorKind
from headrace.schemas.messages import Task
from headrace.schemas.pools import Pool
from headrace.schemas.workflow_tests import SCRIPTED_KINDS, RuleSpec
from tests.simulation.workflows import draw_workflow
from tests.unit.console.workflow_cases import ASK, EACH, LABEL, LLM, PRICES, ask, played, run, write

__all__ = ["write"]


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_no_rule_fits_is_echoed(write):
    assert played(write(ASK, ask(expect={"output": "hello"})))["passed"]


def test_a_call_with_a_schema_that_no_rule_fits_is_answered_with_a_value_that_holds_it(write):
    schema = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["a", "b"]}}}
    workflow = {**ASK, "steps": {"ask": {"llm": {**LLM, "output": schema}}}}
    case = ask(expect={"output_schema": schema, "attempts": {"ask": 1}})
    assert played(write(workflow, case))["passed"]


def test_the_first_rule_that_fits_step_pool_prompt_index_and_attempt_answers(write):
    rules = [
        {"step": "sum", "pool": "small", "answer": "wrong pool"},
        {"step": "sum", "answer": "all of {last}"},
        {"index": 2, "answer": "third"},
        {"prompt": "Item (b.*)", "answer": "found {1} {2} at {index}, attempt {attempt}"},
        {"pool": "small", "answer": ["not", "text"]},
    ]
    case = {"input": {"items": ["a", "bee", "c"]}, "answers": rules}
    output = 'all of ["not", "text"], found bee {2} at 1, attempt 1, third'
    assert played(write(EACH, {**case, "expect": {"output": output}}))["passed"]


def test_answers_in_order_go_to_tasks_and_stay_with_them_over_their_attempts(write):
    rules = [{"step": "notes", "index": 0, "attempt": 1, "error": "timeout"}, {"step": "notes", "in_order": ["x", "y"]}]
    case = {"input": {"items": [1, 2, 3]}, "answers": rules, "expect": {"output": "Item 1, x, y"}}
    assert played(write(EACH, case))["failures"] == []


@pytest.mark.parametrize("seed", range(5))
def test_a_list_of_attempts_is_gone_through_and_its_last_stays(write, seed):
    rule = {"attempts": [{"error": "overloaded"}, {"error": "rate_limited", "retry_after_ms": 7_000}, "good"]}
    events = [
        {"type": "task.retried", "step": "ask", "data": {"reason": "overloaded"}, "count": 1},
        {"type": "task.retried", "data": {"reason": "rate_limited"}, "count": {"at_most": 1}},
        {"type": "task.failed", "count": 0},
    ]
    expect = {"output": "good", "attempts": {"ask": 3}, "events": events, "duration_ms": {"at_least": 7_000}}
    assert played(write(ASK, ask(answers=[rule], expect=expect)), "--seed", seed)["failures"] == []


def test_a_rule_for_some_times_leaves_the_rest_to_the_next(write):
    rules = [{"times": 2, "answer": "first"}, {"answer": "rest"}]
    case = {"input": {"items": [1, 2, 3]}, "answers": rules}
    file = write(EACH, {**case, "expect": {"prompts": [{"step": "sum", "contains": "first, first, rest"}]}})
    assert played(file)["passed"]


def test_rules_of_the_file_come_after_those_of_the_case(write):
    file = write(ASK, ask(answers=[{"prompt": "hell", "answer": "own"}]), answers=[{"answer": "shared"}])
    assert played(file)["output"] == "own"


@pytest.mark.parametrize("kind", SCRIPTED_KINDS)
def test_every_error_kind_of_a_worker_can_be_scripted(write, kind):
    workflow = {**ASK, "steps": {"ask": {"llm": LLM, "retry": {"attempts": 2}}}}
    reason = kind.value
    calls = {ErrorKind.INTERRUPTED: 3}.get(kind, 2 if KINDS[kind].retriable else 1)
    case = ask(answers=[{"error": reason}], expect={"status": "failed", "reason": reason, "attempts": {"ask": calls}})
    assert played(write(workflow, case))["failures"] == []


def test_a_failure_with_on_error_goes_on(write):
    workflow = {**ASK, "steps": {"ask": {"llm": LLM, "on_error": {"default": "none"}}}}
    case = ask(
        answers=[{"error": "auth", "message": "no"}], expect={"output": "none", "partial": True, "failed": {"ask": 1}}
    )
    assert played(write(workflow, case))["failures"] == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("no json", "malformed_output"), ({"lable": 1}, "malformed_output"), (["x"], "malformed_output")],
)
def test_an_answer_is_held_to_the_schema_as_a_worker_does(write, answer, reason):
    case = ask(answers=[{"answer": answer}], expect={"status": "failed", "reason": reason, "attempts": {"ask": 3}})
    assert played(write(LABEL, case))["failures"] == []
    assert played(write(LABEL, ask(answers=[{"answer": '```json\n{"label": 1}\n```'}])))["output"] == {"label": 1}


def test_a_truncated_answer_is_a_success_of_text_and_a_failure_with_a_schema(write):
    rule = {"answer": "cut of", "truncated": True}
    text = played(
        write(ASK, ask(answers=[rule], expect={"outcome": {"receipt": {"steps": {"ask": {"truncated": 1}}}}}))
    )
    assert text["passed"]
    case = ask(answers=[rule], expect={"status": "failed", "reason": "truncated", "attempts": {"ask": 1}})
    assert played(write(LABEL, case))["passed"]


class OtherTask(Task):
    """A task whose call is none of a model."""

    tool: dict[str, Any] | None = None


def test_a_call_that_is_none_of_a_model_is_found_by_its_arguments_and_answered_with_json():
    fields = {
        "task_id": "test/mail/0",
        "job_id": "test",
        "step": "mail",
        "attempt": 1,
        "pool": "tools",
        "lane": "batch",
    }
    call = {"tool": "email", "arguments": {"to": "a@b.c"}}
    task = OtherTask(**fields, reply_partition=0, timeout_ms=1_000, tool=call)
    rule = RuleSpec(prompt='"to": "(.*?)"', answer={"sent": True}, result={"cost_microusd": 3})
    answerer = Answerer(Script([rule]), {"tools": Pool(endpoint="e")}, Draws(0))
    result = answerer.answer(task).result
    assert (result.output, result.cost_microusd) == ({"sent": True}, 3)
    echo = Answerer(Script([]), {"tools": Pool(endpoint="e")}, Draws(0)).answer(task).result
    assert echo.output == call


# ── Time and money ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_to_a_comparison_names_the_nearest_branch_and_without_one_none_is_near(write):
    semantic = {"pool": "embed", "text": "{{ input.text }}", "examples": {"card": ["a card"], "travel": ["a flight"]}}
    route = {"semantic": semantic, "otherwise": "person", "to": {"card": {}, "travel": {}, "person": {}}}
    workflow = {"name": "w", "version": 1, "steps": {"team": {"route": route}}}
    path = write(
        workflow,
        ask(answers=[{"prompt": "^hel", "answer": "travel"}], expect={"output": "travel", "tokens": 2}),
        ask(expect={"output": "person", "events": [{"type": "route.decided", "data": {"by": "otherwise"}}]}),
    )
    assert run(path).exit_code == 0, run(path).output


def test_waits_deadlines_and_timeouts_pass_without_waiting(write):
    started = time.monotonic()
    slow = ask(
        answers=[{"takes_ms": 5_000_000}], expect={"status": "failed", "reason": "timeout", "attempts": {"ask": 3}}
    )
    assert played(write(ASK, slow))["virtual_ms"] > 1_800_000
    late = ask(job={"deadline_s": 3600}, answers=[{"error": "rate_limited", "retry_after_ms": 3_000_000}])
    case = played(write(ASK, {**late, "expect": {"status": "expired", "reason": "deadline_exceeded"}}))
    assert (case["passed"], case["virtual_ms"]) == (True, 3_600_000)
    assert time.monotonic() - started < 2


def test_a_cancelled_job_ends_then(write):
    case = ask(answers=[{"takes_ms": 900}], cancel_after_ms=500, expect={"status": "cancelled", "duration_ms": 500})
    assert played(write(ASK, case))["failures"] == []


def test_costs_follow_from_usage_and_the_prices_of_the_pools_file(write, tmp_path):
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(PRICES))
    rule = {"usage": {"input_tokens": 100, "output_tokens": 20}}
    expect = {"cost_microusd": 140, "tokens": 120}
    assert played(write(ASK, ask(answers=[rule], expect=expect), pools="pools.yaml"))["failures"] == []
    assert played(write(ASK, ask(answers=[rule], expect=expect)), "--pools", tmp_path / "pools.yaml")["passed"]
    free = played(write(ASK, ask(answers=[rule], expect={"cost_microusd": {"at_least": 1}})))
    assert [failure["came"] for failure in free["failures"]] == ["0"]


def test_budgets_and_sensitivity_hold(write, tmp_path):
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(PRICES))
    poor = ask(
        job={"budget": {"microusd": 10}},
        expect={"status": "failed", "reason": "budget_exceeded", "attempts": {"ask": 0}},
    )
    assert played(write(ASK, poor, pools="pools.yaml"))["failures"] == []
    secret = ask(job={"sensitivity": "confidential"}, expect={"status": "rejected", "message": "public endpoints"})
    assert played(write(ASK, secret, pools="pools.yaml"))["failures"] == []


def test_an_output_that_lies_in_the_object_store_is_compared_too(write, tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"text": "x" * 400_000}))
    schema = {"type": "string", "minLength": 400_000}
    case = {"input_file": "in.json", "expect": {"output_schema": schema, "output_contains": ["xxx", "xx"]}}
    assert played(write(ASK, case))["failures"] == []


def test_ten_tasks_take_less_than_fifty_milliseconds(write):
    file = write(EACH, {"input": {"items": list(range(9))}, "expect": {"tasks": {"notes": 9, "sum": 3}}})
    tests, _ = load_tests(file.with_name("w.tests.yaml"), None)
    run_case(tests, tests.cases[0], 0)
    taken = []
    for seed in range(5):
        started = time.perf_counter()
        assert run_case(tests, tests.cases[0], seed).passed
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.05


# ── The same every time ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", range(25))
def test_the_same_seed_gives_the_same_outcome_and_events_byte_for_byte(write, number):
    """Over the simulation's random workflows, so that every kind of step is among them."""
    draws = Random(number)
    faults = [
        {"prompt": "item [02]", "attempt": 1, "error": draws.choice(("rate_limited", "timeout", "interrupted"))},
        {"prompt": "item 3", "error": "bad_request"},
    ]
    items = [f"item {n}" for n in range(draws.choice((1, 3, 5, 8)))]
    file = write(draw_workflow(draws), {"input": {"items": items}, "answers": faults})
    tests, problems = load_tests(file.with_name("w.tests.yaml"), None)
    assert not problems

    def bytes_of(seed):
        found = run_case(tests, tests.cases[0], seed)
        return (
            found.event_lines(),
            found.played.outcome.model_dump_json(),
            [call.model_dump_json() for call in found.played.calls],
        )

    seen = [bytes_of(seed) for seed in range(4)]
    assert seen == [bytes_of(seed) for seed in range(4)]
    if len(items) > 3:
        assert len({json.dumps(events) for events, _, _ in seen}) > 1, "another seed draws other times"


def test_another_seed_changes_the_order_of_answers_and_not_the_output(write):
    file = write(
        EACH, {"input": {"items": list(range(20))}, "expect": {"output": ", ".join(f"Item {n}" for n in range(20))}}
    )
    workflow = {
        **EACH,
        "steps": {**EACH["steps"], "sum": {"reduce": "notes", "fan_in": 30, "llm": EACH["steps"]["sum"]["llm"]}},
    }
    (file.parent / "w.yaml").write_text(yaml.safe_dump(workflow))
    tests, problems = load_tests(file.with_name("w.tests.yaml"), None)
    assert not problems
    runs = [run_case(tests, tests.cases[0], seed) for seed in range(6)]
    assert all(each.passed for each in runs)
    assert len({each.played.ended_ms for each in runs}) > 1

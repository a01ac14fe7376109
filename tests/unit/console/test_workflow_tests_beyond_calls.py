"""``headrace workflow test``: jobs that wait for signals, and jobs that nest others."""

from __future__ import annotations

import yaml

from tests.unit.console.workflow_cases import ASK, played, run, write

__all__ = ["write"]

WAIT = {
    "name": "w",
    "version": 1,
    "steps": {
        "approval": {
            "wait": {
                "signal": "approve",
                "timeout_s": 60,
                "on_timeout": {"default": {"by": "nobody"}},
                "schema": {"type": "object", "required": ["by"]},
            }
        }
    },
    "output": "{{ approval.by }}",
}
CHILD = {**ASK, "name": "child", "version": 3}
PARENT = {
    "name": "w",
    "version": 1,
    "steps": {
        "each": {
            "for_each": "{{ input.texts }}",
            "workflow": {"name": "child@3", "input": {"text": "{{ item }}"}},
            "require": {"at_least": 1},
        }
    },
    "output": "{{ each }}",
}


def test_a_signal_comes_when_the_case_says_and_the_job_goes_on_then(write):
    signals = [{"name": "approve", "payload": {"by": "Ann"}, "after_ms": 5_000}]
    case = {"signals": signals, "expect": {"output": "Ann", "duration_ms": 5_000}}
    assert played(write(WAIT, case))["failures"] == []


def test_a_signal_that_comes_too_late_or_does_not_fit_is_none(write):
    signals = [{"name": "approve", "payload": {"by": "Ann"}, "after_ms": 61_000}, {"name": "approve", "payload": {}}]
    case = {"signals": signals, "expect": {"output": "nobody", "duration_ms": 60_000}}
    assert played(write(WAIT, case))["failures"] == []


def beside(write, child, *cases):
    path = write(PARENT, *cases, nested=["child.yaml"])
    path.with_name("child.yaml").write_text(yaml.safe_dump(child, sort_keys=False))
    return path


def test_nested_jobs_are_played_with_the_answers_of_the_case(write):
    answers = [{"step": "ask", "prompt": "two", "error": "bad_request"}, {"step": "ask", "answer": "<{last}>"}]
    expect = {
        "output": ["<one>", None, "<three>"],
        "failed": {"each": 1},
        "events": [{"type": "job.nested", "count": 3}],
        "prompts": [{"step": "ask", "contains": "three"}],
        "cost_microusd": 0,
    }
    case = {"input": {"texts": ["one", "two", "three"]}, "answers": answers, "expect": expect}
    assert played(beside(write, CHILD, case))["failures"] == []


def test_a_cancel_ends_nested_jobs_with_their_parent(write):
    answers = [{"step": "ask", "takes_ms": 10_000}]
    expect = {"status": "cancelled", "duration_ms": {"at_most": 1_000}}
    case = {"input": {"texts": ["one"]}, "answers": answers, "cancel_after_ms": 1_000, "expect": expect}
    assert played(beside(write, CHILD, case))["failures"] == []


def test_a_nested_workflow_that_no_file_has_is_named(write):
    case = {"input": {"texts": ["one"]}, "expect": {"status": "rejected", "message": "name its file under 'nested'"}}
    assert played(write(PARENT, case))["failures"] == []


def test_every_problem_of_a_nested_file_is_listed_in_one_go(write):
    wrong = {**CHILD, "steps": {"ask": {"llm": {"pool": "small", "prompt": "{{ nothing }}"}}}}
    result = run(beside(write, wrong, {"answers": [{"step": "ask", "answer": "x"}, {"step": "asj", "answer": "x"}]}))
    assert result.exit_code == 2
    assert "child.yaml:" in result.output
    assert "unknown step 'asj'" in result.output


def test_a_nested_file_that_is_not_there_is_named_with_its_line(write):
    result = run(write(PARENT, {}, nested=["gone.yaml"]))
    assert result.exit_code == 2
    assert "gone.yaml cannot be read: No such file" in result.output

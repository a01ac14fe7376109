"""``headrace workflow test``: what it says, and what it says of files that cannot be used."""

import json
import re

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from headrace.console.commands.workflow import app
from headrace.schemas.workflow_tests import schema_of_tests
from tests.unit.console.workflow_cases import ASK, EXAMPLES, ask, played, run, write

__all__ = ["write"]


# ── What is said ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_a_case_a_summary_and_exit_code_0(write):
    result = run(write(ASK, ask(), ask()))
    assert result.exit_code == 0
    assert "w.tests.yaml::case 0 PASSED [ 50%]" in result.output
    assert "2 passed in " in result.output


def test_a_failure_says_what_was_expected_what_came_and_where(write):
    outputs = {"output": "line one\nline two\n"}
    file = write(
        ASK,
        ask(
            answers=[{"answer": "line one\nline three\n"}, {"answer": "never"}], expect={**outputs, "tasks": {"ask": 2}}
        ),
        ask(answers=[{"error": "auth", "message": "bad key"}]),
        ask(
            expect={
                "events": [{"type": "route.decided"}],
                "prompts": [{"step": "ask", "contains": "bye", "lacks": "hell"}],
            }
        ),
    )
    text = (file.parent / "w.tests.yaml").read_text().splitlines()
    result = run(file)
    assert result.exit_code == 1
    line = next(number for number, line in enumerate(text, 1) if line.strip().startswith("output:"))
    assert f"w.tests.yaml:{line}: output" in result.output
    assert "    -line two\n    +line three" in result.output
    assert "tasks.ask\n    expected: 2\n    came:     1" in result.output
    assert "note: answers that no call took" in result.output
    assert "expected: succeeded\n    came:     failed (auth: step ask failed: bad key)" in result.output
    assert "expected: at least 1 route.decided\n    came:     0; there were:" in result.output
    assert "a prompt of step ask with 'bye'" in result.output
    assert "no prompt of step ask with 'hell'" in result.output
    assert "3 failed in " in result.output


def test_many_cases_are_dots_and_failures_are_still_named(write):
    cases = [ask() for _ in range(150)]
    cases[70]["expect"] = {"output": "x"}
    result = run(write(ASK, *cases))
    assert result.exit_code == 1
    assert "." * 60 + " [ 40%]" in result.output
    assert "w.tests.yaml::case 70 FAILED [ 47%]" in result.output
    assert "1 failed, 149 passed" in result.output


def test_k_chooses_cases_by_name(write):
    file = write(ASK, ask(), ask(expect={"output": "x"}))
    assert run(file, "-k", "case 0").exit_code == 0
    assert "did you mean 'case 0'" in str(run(file, "-k", "cise 0").exception)


def test_json_is_one_object_on_standard_output(write):
    result = run(write(ASK, ask(), ask(expect={"output": "x"})), "--json", "--seed", "7")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["seed"], found["passed"], found["failed"]) == (1, 7, 1, 1)
    assert found["cases"][1]["failures"] == [{"what": "output", "line": 9, "expected": '"x"', "came": '"hello"'}]
    assert [event["type"] for event in found["cases"][0]["events"]][-1] == "job.finished"
    assert "PASSED" in result.stderr


def test_a_job_that_stands_still_is_a_failure(write, monkeypatch):
    monkeypatch.setattr("headrace.console.testing.driver.Driver._send", lambda self, task: None)
    (failure,) = played(write(ASK, ask()))["failures"]
    assert "nothing is out" in failure["came"]


def test_an_engine_that_breaks_is_a_failure(write, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("headrace.console.testing.driver.step", broken)
    (failure,) = played(write(ASK, ask()))["failures"]
    assert "RuntimeError: a bug" in failure["came"]


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

BAD = """\
pools: none.yaml
cases:
  - name: a
    answers:
      - {stp: ask, answer: x}
      - step: aks
        error: rate_limit
      - {in_order: [a, {answr: 3}], prompt: "("}
    expect:
      tasks: {asks: 3}
      cost_microusd: much
      output_schema: {type: objekt}
  - {name: a, input_file: none.json, expect: {status: ok}}
"""


def test_a_bad_file_lists_every_problem_with_its_line_and_a_suggestion(write):
    file = write(ASK)
    tests = file.with_name("w.tests.yaml")
    tests.write_text(BAD)
    for command in ("test", "check"):
        result = CliRunner().invoke(app, [command, str(file)])
        assert result.exit_code == 2
        for line, text in (
            (1, "pools: pools file"),
            (5, "cases.0.answers.0.stp: unknown key 'stp' (did you mean 'step'?)"),
            (6, "cases.0.answers.1.step: unknown step 'aks' (did you mean 'ask'?)"),
            (7, "cases.0.answers.1.error: unknown error kind 'rate_limit' (did you mean 'rate_limited'?)"),
            (8, "cases.0.answers.2.in_order.1.answr: unknown key 'answr' (did you mean 'answer'?)"),
            (8, "cases.0.answers.2.prompt: not a regular expression"),
            (10, "cases.0.expect.tasks.asks: unknown step 'asks' (did you mean 'ask'?)"),
            (11, "cases.0.expect.cost_microusd: use a whole number, or bounds"),
            (12, "cases.0.expect.output_schema: not a valid JSON Schema"),
            (13, "cases.1.name: the case on line 3 has the same name"),
            (13, "cases.1.input_file: "),
            (13, "cases.1.expect.status: unknown status 'ok'"),
        ):
            assert f"{tests}:{line}: {text}" in result.output
        assert "12 problems" in result.output


def test_problems_of_the_workflow_are_those_of_its_file(write):
    file = write({**ASK, "steps": {"ask": {"llm": {"pool": "small", "prompt": "{{ inptu }}"}}}}, ask())
    result = run(file)
    assert result.exit_code == 2
    assert f"{file}:7: steps.ask.llm.prompt: unknown reference 'inptu'" in result.output


@pytest.mark.parametrize(
    "text",
    ["", "[]", "cases: []", "cases: {", "a: *b", "cases: 3", "cases: [3]", "cases: [{name: {}}]", "{: :}", "\x00"],
)
def test_what_is_no_test_file_has_problems_and_no_traceback(write, text):
    file = write(ASK)
    file.with_name("w.tests.yaml").write_text(text)
    result = run(file)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert f"{file.with_name('w.tests.yaml')}:1: " in result.output


def test_a_folder_means_all_test_files_below_it_and_check_names_the_cases(write, tmp_path):
    file = write(ASK, ask(input_file="in.yaml", input={}))
    (tmp_path / "in.yaml").write_text("text: from a file\n")
    assert played(tmp_path)["output"] == "from a file"
    assert "1 case of w@1 hold" in CliRunner().invoke(app, ["check", str(file)]).output
    (tmp_path / "other.yaml").write_text("name: x\n")
    assert "no tests beside it" in str(run(tmp_path / "other.yaml").exception)


def test_the_schema_takes_what_the_command_takes(write):
    validator = jsonschema_rs.validator_for(json.loads(CliRunner().invoke(app, ["schema", "--tests"]).output))
    files = [yaml.safe_load(path.read_text()) for path in EXAMPLES.rglob("*.tests.yaml")]
    assert files
    for file in files:
        validator.validate(file)
    assert validator.is_valid(
        {"cases": [{"name": "a", "expect": {"tasks": {"a": 3}, "prompts": [{"step": "a", "contains": "x"}]}}]}
    )
    assert not validator.is_valid({"cases": [{"name": "a", "answers": [{"error": "no_kind"}]}]})
    assert schema_of_tests()["title"] == "WorkflowTests"


def test_the_case_of_the_documentation_passes(tmp_path):
    page = (EXAMPLES.parent / "docs" / "workflows.md").read_text()
    found = re.search(r"```yaml\n# classify\.tests\.yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "classify.tests.yaml").write_text(found[1])
    (tmp_path / "classify.yaml").write_text((EXAMPLES / "classify" / "workflow.yaml").read_text())
    (tmp_path / "pools.yaml").write_text((EXAMPLES / "pools.yaml").read_text())
    assert played(tmp_path / "classify.yaml")["failures"] == []


def test_json_is_the_same_for_the_same_seed():
    first, second = (json.loads(run(EXAMPLES, "--json", "--seed", "3").stdout) for _ in range(2))
    first.pop("seconds")
    second.pop("seconds")
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.tests.yaml")), ids=lambda path: path.parent.name)
@pytest.mark.parametrize("seed", range(3))
def test_the_tests_of_the_examples_pass(path, seed):
    result = run(path, "--seed", seed)
    assert result.exit_code == 0, result.output

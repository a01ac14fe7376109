from pathlib import Path

from typer.testing import CliRunner

from headrace.console.commands.workflow import app

GOLDEN = Path(__file__).parents[2] / "golden" / "summarise.yaml"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_workflow_that_holds_is_said_to_hold():
    result = run("check", GOLDEN)
    assert result.exit_code == 0
    assert "summarise@3 holds: 3 steps" in result.output


def test_check_lists_every_problem_of_every_file_with_its_line_and_ends_with_2(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: w\nversion: 1\nsteps:\n  a:\n    llm: {pool: smal, prompt: '{{ b }}'}\n    whn: x\n")
    pools = tmp_path / "pools.yaml"
    pools.write_text("endpoints: {e: {}}\npools: {small: {endpoint: e}, large: {endpoint: e}}\n")
    result = run("check", bad, GOLDEN, tmp_path / "none.yaml", "--pools", pools)
    assert result.exit_code == 2
    assert f"{bad}:5: steps.a.llm.pool: unknown pool 'smal' (did you mean 'small'?)" in result.output
    assert f"{bad}:5: steps.a.llm.prompt: unknown reference 'b'" in result.output
    assert f"{bad}:6: steps.a.whn: unknown key 'whn' (did you mean 'when'?)" in result.output or "whn" in result.output
    assert "none.yaml: file: cannot be read" in result.output
    assert "4 problems" in result.output


def test_show_draws_the_steps_as_a_tree_and_as_mermaid():
    tree = run("show", GOLDEN).output
    assert "summarise@3" in tree
    assert "summary  reduce notes, 8 at a time: llm on large  <- notes" in tree
    chart = run("show", GOLDEN, "--mermaid").output
    assert chart.startswith("flowchart TD")
    assert "  s_chunks --> s_notes" in chart


def test_show_of_a_workflow_that_does_not_hold_ends_with_2(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: w\n")
    assert run("show", bad).exit_code == 2


def test_schema_writes_the_json_schema_of_the_language():
    assert '"$defs"' in run("schema").output

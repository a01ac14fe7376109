from pathlib import Path
from xml.etree import ElementTree

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


def test_show_draws_a_picture_with_a_box_a_step_each_below_what_it_needs():
    root = ElementTree.fromstring(run("show", GOLDEN, "--svg").output)
    boxes = {group[0].text.split(":")[0]: group[1] for group in root if group.tag.endswith("}g")}
    assert list(boxes) == ["input", "chunks", "notes", "summary", "output"]
    heights = [int(box.get("y")) for box in boxes.values()]
    assert heights == sorted(heights)
    assert len(set(heights)) == 5
    assert sum(each.tag.endswith("}path") for each in root) == 4
    assert "summary reduce notes" in root.get("aria-label")


def test_steps_that_need_the_same_stand_side_by_side_and_their_words_are_escaped(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\nversion: 1\nsteps:\n"
        "  a: {llm: {pool: p, prompt: x}}\n  b: {llm: {pool: p, prompt: y}}\n"
        "  c: {llm: {pool: p, prompt: '{{ a }} & {{ b }}'}}\n"
    )
    root = ElementTree.fromstring(run("show", file, "--svg").output)
    boxes = {group[0].text.split(":")[0]: group[1] for group in root if group.tag.endswith("}g")}
    assert boxes["a"].get("y") == boxes["b"].get("y")
    assert float(boxes["b"].get("x")) - float(boxes["a"].get("x")) >= float(boxes["a"].get("width"))
    assert float(boxes["c"].get("y")) > float(boxes["a"].get("y"))


def test_one_picture_at_a_time():
    assert run("show", GOLDEN, "--svg", "--mermaid").exit_code == 2


def test_show_of_a_workflow_that_does_not_hold_ends_with_2(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: w\n")
    assert run("show", bad).exit_code == 2


def test_schema_writes_the_json_schema_of_the_language():
    assert '"$defs"' in run("schema").output

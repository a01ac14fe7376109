import json

import jsonschema_rs
import pytest

from headrace.orchestrator.core.catalogue import UnknownWorkflow
from headrace.orchestrator.core.workflow_text import read_workflow
from headrace.orchestrator.shell.workflows import WorkflowsInvalid, load_workflows
from headrace.schemas.errors import ConfigError
from headrace.schemas.workflow import language_schema

TEXT = "name: {name}\nversion: {version}\nsteps:\n  a: {{llm: {{pool: p, prompt: '{prompt}'}}}}\n"


def write(folder, file, **values):
    values = {"name": "greet", "version": 1, "prompt": "hi", **values}
    (folder / file).write_text(TEXT.format(**values))


def test_the_newest_version_is_taken_where_none_is_named(tmp_path):
    for version in (2, 10, 9):
        write(tmp_path, f"greet{version}.yaml", version=version)
    catalogue = load_workflows([tmp_path], pools=None)
    assert catalogue.resolve("greet")["version"] == 10
    assert catalogue.resolve("greet@2")["version"] == 2
    assert catalogue.refs() == ("greet@2", "greet@9", "greet@10")


def test_tests_of_workflows_are_no_workflows(tmp_path):
    write(tmp_path, "greet.yaml")
    for name in ("greet.tests.yaml", "greet.tests.yml"):
        (tmp_path / name).write_text("cases: [{name: a}]\n")
    assert load_workflows([tmp_path], pools=None).refs() == ("greet@1",)


def test_an_unknown_workflow_is_an_error_with_a_suggestion(tmp_path):
    write(tmp_path, "greet.yaml")
    catalogue = load_workflows([tmp_path], pools=None)
    with pytest.raises(UnknownWorkflow, match="did you mean 'greet'"):
        catalogue.resolve("gret")
    with pytest.raises(UnknownWorkflow, match=r"no version 7 \(versions: 1\)"):
        catalogue.resolve("greet@7")


def test_problems_of_all_files_come_in_one_go_with_file_and_line(tmp_path):
    write(tmp_path, "a.yaml", prompt="{{ inptu }}")
    (tmp_path / "b.yml").write_text("name: b\nname: c\n")
    (tmp_path / "c.yaml").write_text("a: [")
    write(tmp_path, "d.yaml", name="ok")
    with pytest.raises(WorkflowsInvalid) as caught:
        load_workflows([tmp_path], pools={})
    lines = [str(problem) for problem in caught.value.problems]
    assert f"{tmp_path}/a.yaml:4: steps.a.llm.prompt: unknown reference 'inptu' (did you mean 'input'?)" in lines
    assert any(line.startswith(f"{tmp_path}/b.yml:2: name: the key 'name' stands twice") for line in lines)
    assert any(line.startswith(f"{tmp_path}/c.yaml:1: file: not YAML") for line in lines)
    assert any("unknown pool 'p'" in line for line in lines)


def test_one_version_with_two_texts_is_a_problem_and_with_one_text_is_not(tmp_path):
    write(tmp_path, "a.yaml")
    write(tmp_path, "b.yaml")
    assert load_workflows([tmp_path], pools=None).refs() == ("greet@1",)
    write(tmp_path, "b.yaml", prompt="other")
    with pytest.raises(WorkflowsInvalid, match="raise the version"):
        load_workflows([tmp_path], pools=None)


def test_a_path_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        load_workflows([tmp_path / "none"], pools=None)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_workflows([tmp_path], pools=None)


def test_the_surprises_of_yaml_are_taken_out():
    read = read_workflow("on: yes\nday: 2026-01-01\ntime: 1:30\noct: 010\nn: ~\nt: true\nf: 1.5\ns: '1'\nhex: 0x1F")
    assert read.document == {
        "on": "yes",
        "day": "2026-01-01",
        "time": "1:30",
        "oct": 10,
        "n": None,
        "t": True,
        "f": 1.5,
        "s": "1",
        "hex": "0x1F",
    }
    assert read.lines["time"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: &a [1]\n<<: {b: 1}",
        "a: !!python/object:os.system x",
        "? [a]\n: b",
        "a: &a [*a]",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(9)),
        "[" * 100_000,
        "a" * 600_000,
        "---\na: 1\n---\nb: 2",
        "a: \x00",
        "a: b: c",
    ],
)
def test_a_text_that_cannot_be_read_is_a_problem_and_nothing_else(text):
    assert read_workflow(text).problems


def test_the_schema_of_the_language_is_valid_and_takes_what_the_compiler_takes(tmp_path):
    schema = language_schema()
    json.dumps(schema)
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(read_workflow(TEXT.format(name="a", version=1, prompt="x")).document)
    assert not validator.is_valid({"name": "a", "version": 1, "steps": {"a-b": {}}})
    assert not validator.is_valid({"name": "a", "version": 1, "steps": {"a": {"lm": {}}}})


def trial(folder, **shares):
    """Write versions of greet: ``v2=0.1`` is on trial with a tenth of the jobs, ``v1=None`` is on no trial."""
    for version, share in shares.items():
        number = int(version.removeprefix("v"))
        extra = "" if share is None else f"share: {share}\n"
        (folder / f"{version}.yaml").write_text(TEXT.format(name="greet", version=number, prompt="hi") + extra)
    return load_workflows([folder], pools=None)


def test_a_version_on_trial_gets_its_share_of_the_jobs_and_a_job_always_the_same(tmp_path):
    catalogue = trial(tmp_path, v1=None, v2=0.1)
    taken = [catalogue.resolve("greet", f"job-{number}")["version"] for number in range(5_000)]
    assert taken == [catalogue.resolve("greet", f"job-{number}")["version"] for number in range(5_000)]
    assert 0.08 < taken.count(2) / 5_000 < 0.12
    assert taken.count(1) + taken.count(2) == 5_000


def test_a_version_on_trial_is_taken_by_name_and_never_by_accident(tmp_path):
    catalogue = trial(tmp_path, v1=None, v2=0.9)
    assert catalogue.resolve("greet@2", "any")["version"] == 2
    assert catalogue.resolve("greet")["version"] == 1


def test_two_trials_take_their_shares_one_after_the_other_and_an_older_version_nothing(tmp_path):
    catalogue = trial(tmp_path, v1=None, v2=None, v3=0.5, v4=0.2)
    taken = [catalogue.resolve("greet", f"job-{number}")["version"] for number in range(5_000)]
    assert taken.count(1) == 0
    assert 0.17 < taken.count(4) / 5_000 < 0.23
    assert 0.36 < taken.count(3) / 5_000 < 0.44


def test_where_all_versions_are_on_trial_the_oldest_takes_the_rest(tmp_path):
    catalogue = trial(tmp_path, v1=0.1, v2=0.3)
    taken = [catalogue.resolve("greet", f"job-{number}")["version"] for number in range(2_000)]
    assert 0.25 < taken.count(2) / 2_000 < 0.35
    assert taken.count(1) == 2_000 - taken.count(2)


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-0.1", "x"])
def test_a_share_is_a_part_and_not_the_whole(tmp_path, share):
    with pytest.raises(WorkflowsInvalid, match="share"):
        trial(tmp_path, v1=None, v2=share)

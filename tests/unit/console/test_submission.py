"""What ``headrace submit`` checks before anything is sent."""

import json

import pytest

from headrace.console.client import turn_id
from headrace.console.commands.submit import build_submission, read_text
from headrace.console.options import parse_labels
from headrace.schemas.errors import ConfigError

FLAGS = {"job_id": None, "tenant": None, "labels": None}


def build(text, workflow=None, **flags):
    return build_submission(text, name="job.json", workflow=workflow, flags={**FLAGS, **flags})


def test_with_a_workflow_the_file_is_the_input():
    found = build('{"text": "a"}', workflow="summarise@1")
    assert (found.workflow, found.input) == ("summarise@1", {"text": "a"})


def test_without_a_workflow_the_file_is_the_whole_value_and_flags_win():
    found = build('{"workflow": "w@1", "input": {"a": 1}, "tenant": "file"}', tenant="flag", job_id="j1")
    assert (found.workflow, found.input, found.tenant, found.job_id) == ("w@1", {"a": 1}, "flag", "j1")


def test_a_workflow_file_travels_inline(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text("name: w\nversion: 1\nsteps: {}\n")
    assert build("{}", workflow=str(path)).workflow == {"name": "w", "version": 1, "steps": {}}


@pytest.mark.parametrize(
    ("text", "workflow", "said"),
    [
        ('{"a":\n 1,}', "w", "line 2, column 4"),
        ('{"workflow": "w", "imput": {}}', None, "did you mean 'input'"),
        ('{"a": NaN}', "w", "NaN is no JSON number"),
        ("[1]", None, "no JSON object"),
        ("[1]", "w", "input: Input should be"),
        ("[" * 100_000, "w", "job.json"),
        ("{}", None, "names no workflow"),
        ('{"type": "cancel"}', None, "needs the job_id"),
        ('{"workflow": "w", "lane": "fast"}', None, "lane"),
        ('{"workflow": "w", "deadline": "2026-01-01T00:00:00"}', None, "timezone"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_place(text, workflow, said):
    with pytest.raises(ConfigError) as caught:
        build(text, workflow)
    assert said in caught.value.message
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_and_one_that_is_not_text_are_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_text(str(tmp_path / "none.json"))
    path = tmp_path / "latin.json"
    path.write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_text(str(path))


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert json.loads(read_text(str(path))) == {"a": 1}


def test_labels_are_pairs():
    assert parse_labels(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(ConfigError):
        parse_labels(["a"])


def test_a_turn_of_a_session_is_named_after_it():
    assert turn_id("chat", "7") == turn_id("chat", "chat::7") == "chat::7"
    made = turn_id("chat", None)
    assert made.startswith("chat::")
    assert made != turn_id("chat", None)


@pytest.mark.parametrize(("session", "job_id"), [("", None), ("a::b", None), ("chat", "other::7")])
def test_a_session_that_cannot_be_is_refused(session, job_id):
    with pytest.raises(ConfigError):
        turn_id(session, job_id)

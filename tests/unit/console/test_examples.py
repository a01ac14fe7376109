"""The examples as the command sees them: named, described, found, and judged by their checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.console.cli import run
from headrace.examples.catalogue import examples, find
from headrace.examples.runner import ExampleRun, run_example, stage_of
from headrace.examples.stage import Check, Stage
from headrace.runtime.settings import load_settings
from headrace.schemas.errors import ConfigError, DependencyUnavailable


def test_every_folder_with_an_example_has_what_a_reader_looks_for() -> None:
    known = examples()
    assert {"classify", "summarise"} <= {one.name for one in known}
    for one in known:
        assert one.title.endswith("."), f"{one.name}: the first line of its docstring is a sentence"
        assert (one.home / "README.md").exists()
        assert (one.home / "workflow.yaml").exists()
        assert callable(one.load())


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no example 'sumarise' \(did you mean 'summarise'\?\)"):
        find(["sumarise"])


def test_the_list_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["examples", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == [one.name for one in examples()]


@pytest.mark.parametrize("arguments", [[], ["classify", "--all"], ["nothing"]])
def test_what_is_asked_for_must_be_clear(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["examples", "run", *arguments]) == 2
    assert "headrace examples list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checks", "error", "passed"),
    [
        ((Check("a", held=True),), "", True),
        ((Check("a", held=True), Check("b", held=False)), "", False),
        ((Check("a", held=True),), "no outcome", False),
        ((), "", False),
    ],
)
def test_a_run_passes_where_it_ended_and_every_check_held(checks: tuple[Check, ...], error: str, passed: bool) -> None:
    assert ExampleRun("x", checks, 1.0, error).passed is passed


def _stage(tmp_path: Path, said: list[str]) -> Stage:
    (example,) = find(["summarise"])
    return Stage(example.name, example.home, tmp_path, load_settings(), said.append)


def test_a_check_that_does_not_hold_is_said_and_does_not_end_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    with _stage(tmp_path, said) as stage:
        stage.expect("one is two", 1 == 2, 1)
        stage.expect("one is one", 1 == 1)
    assert said == ["  ✗ one is two: 1", "  ✓ one is one"]
    assert [check.held for check in stage.checks] == [False, True]


def test_addresses_are_set_into_the_pools_file_and_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with _stage(tmp_path, []) as stage:
        made = stage.pools({"127.0.0.1:9801": "127.0.0.1:7"}, "../pools.yaml")
        assert "127.0.0.1:7/v1" in made.read_text()
        with pytest.raises(ConfigError, match="does not hold 'nowhere'"):
            stage.pools({"nowhere": "x"}, "../pools.yaml")
        stage.given_pools = tmp_path / "mine.yaml"
        assert stage.pools({"nowhere": "x"}) == tmp_path / "mine.yaml"
        # The services that an example starts itself stand in no file of the user's.
        assert stage.pools({"127.0.0.1:9801": "127.0.0.1:8"}, "../pools.yaml", services=True) == made
        assert "127.0.0.1:8/v1" in made.read_text()


def test_a_package_that_is_not_installed_is_said_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    with _stage(tmp_path, []) as stage:
        stage.needs("json", extra="examples")
        with pytest.raises(DependencyUnavailable, match="summarise needs no_such_package") as caught:
            stage.needs("no_such_package", extra="examples")
    assert caught.value.hint == "pip install 'headrace[examples]'"


def test_what_an_example_fails_with_is_part_of_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = find(["summarise"])

    def broken(stage: Stage) -> None:
        raise ConfigError("no such place", "look there")

    monkeypatch.setattr("headrace.examples.summarise.example.run", broken)
    with stage_of(example, load_settings(), tmp_path, print, answers="scripted") as stage:
        ran = run_example(example, stage)
    assert not ran.passed
    assert "no such place (look there)" in ran.summary()
    assert stage.settings.topics.prefix != load_settings().topics.prefix

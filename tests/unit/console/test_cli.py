"""The root of the command line: help, versions, how commands fail."""

import subprocess
import sys

import pytest

from headrace import __version__
from headrace.console import cli
from headrace.console.commands.config import masked
from headrace.schemas.errors import ConfigError, DependencyUnavailable

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HEADRACE_DEBUG", raising=False)
    monkeypatch.delenv("HEADRACE_KAFKA__BOOTSTRAP_SERVERS", raising=False)


def test_the_help_names_every_command_and_the_exit_codes(capsys):
    assert cli.run(["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("submit", "status", "watch", "outcome", "lag", "topics", "demo", "up", "kafka", "workflow", "130"):
        assert word in said


def test_the_help_imports_nothing_heavy():
    probe = (
        "import sys; from headrace.console import cli; cli.build(['--help']);"
        "print([m for m in ('confluent_kafka', 'pydantic', 'jinja2', 'httpx', 'yaml') if m in sys.modules])"
    )
    found = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_command_has_help_with_its_exit_codes(capsys):
    commands = (
        "submit, status, outcome, cancel, watch, lag, topics plan, topics apply, config show, dead-letters list, "
        "dead-letters show, dead-letters redrive, dead-letters drop, "
        "orchestrator, worker, up, down, provider, demo"
    )
    for command in (words.split() for words in commands.split(", ")):
        assert cli.run([*command, "--help"]) == 0
        assert "Exit codes" in capsys.readouterr().out, command


def test_heavy_groups_are_there_when_they_are_named(capsys):
    assert cli.run(["workflow", "--help"]) == 0
    assert "check" in capsys.readouterr().out
    assert cli.run(["model", "--help"]) == 0
    assert "start" in capsys.readouterr().out


def test_the_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"headrace {__version__}\n"


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(capsys):
    assert cli.run(["sumbit"]) == 2
    assert "submit" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line_a_hint_and_its_code(capsys, monkeypatch):
    def fail(_file):
        raise DependencyUnavailable("no [bold]Kafka[/bold]", "start one")

    monkeypatch.setattr("headrace.console.commands.submit.read_text", fail)
    assert cli.run(["submit", "x.json"]) == 3
    assert capsys.readouterr().err == "error: no [bold]Kafka[/bold]\nhint: start one\n"


def test_a_bug_shows_no_traceback_until_it_is_asked_for(capsys, monkeypatch):
    def fail(_file):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("headrace.console.commands.submit.read_text", fail)
    assert cli.run(["submit", "x.json"]) == 1
    said = capsys.readouterr().err
    assert "unexpected ZeroDivisionError: oops" in said
    assert "Traceback" not in said
    monkeypatch.setenv("HEADRACE_DEBUG", "1")
    assert cli.run(["submit", "x.json"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def fail(_file):
        raise KeyboardInterrupt

    monkeypatch.setattr("headrace.console.commands.submit.read_text", fail)
    assert cli.run(["submit", "x.json"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_settings_are_shown_without_their_secrets(capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv(
        "HEADRACE_KAFKA__OPTIONS",
        '{"ssl.key.password": "hunter2", "sasl.oauthbearer.client.secret": "hunter2", "ssl.ca.location": "/ca.pem",'
        ' "sasl.oauthbearer.config": "principal=x secret=hunter2", "ssl.key.pem": "hunter2"}',
    )
    monkeypatch.setenv("HEADRACE_OBJECTS__URL", "s3://user:hunter2@bucket")
    for more in ([], ["--json"]):
        assert cli.run(["config", "show", *more]) == 0
        said = capsys.readouterr().out
        assert "hunter2" not in said
        assert "/ca.pem" in said


def test_a_mask_leaves_what_is_empty():
    assert masked({"sasl_password": None, "password": ""}) == {"sasl_password": None, "password": ""}


def test_an_unknown_setting_is_a_settings_error(capsys, monkeypatch, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("kafka: {bootstrap: x}\n")
    monkeypatch.setenv("HEADRACE_CONFIG_FILE", str(path))
    assert cli.run(["config", "show"]) == ConfigError.exit_code
    assert "kafka.bootstrap" in capsys.readouterr().err


def test_a_plan_can_be_printed_without_a_broker(capsys, tmp_path):
    pools = tmp_path / "pools.yaml"
    pools.write_text("endpoints: {e: {adapter: noop}}\npools: {p: {endpoint: e}}\n")
    assert cli.run(["topics", "plan", "--offline", "--format", "strimzi", "--pools", str(pools)]) == 0
    assert "headrace.tasks.p.batch" in capsys.readouterr().out
    assert cli.run(["topics", "plan", "--offline", "--pools", str(pools)]) == 1

"""The console against a real broker, and against a real orchestrator and worker."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from headrace.console import cli
from headrace.console.client import HeadraceClient, OutcomeTimeout
from headrace.console.deployment import orchestrator_spec, worker_spec
from headrace.console.local_stack import start_together
from headrace.runtime.kafka import admin_client
from headrace.runtime.local_kafka import LocalKafka
from headrace.runtime.local_kafka_scram import ScramUser
from headrace.runtime.settings import Settings, load_settings
from headrace.runtime.supervisor import Supervisor
from headrace.runtime.topic_plan import apply, check_topics, ensure_topics, plan
from headrace.schemas.errors import TopicMismatch
from headrace.schemas.messages import JobStatus

pytestmark = pytest.mark.broker

POOLS = "endpoints: {e: {adapter: noop, public: false}}\npools: {noop: {endpoint: e, concurrency: 8}}\n"
WORKFLOW = """
name: echo
version: 1
input: {type: object, required: [items], properties: {items: {type: array}}}
steps:
  answers:
    for_each: "{{ input.items }}"
    llm: {pool: noop, prompt: "{{ item }}"}
output: "{{ answers }}"
"""


@pytest.fixture
def settings(bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    pools = tmp_path / "pools.yaml"
    pools.write_text(POOLS)
    for name, value in {
        "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "HEADRACE_TOPICS__PREFIX": topic_prefix,
        "HEADRACE_TOPICS__PARTITIONS": "3",
        "HEADRACE_TOPICS__TASK_PARTITIONS": "2",
        "HEADRACE_POOLS_FILE": str(pools),
        "HEADRACE_DATA_DIR": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def with_counts(settings: Settings, **counts: int) -> Settings:
    return settings.model_copy(update={"topics": settings.topics.model_copy(update=counts)})


def test_a_plan_is_applied_once_and_then_there_is_nothing_to_do(settings, capsys):
    assert cli.run(["topics", "plan"]) == 1
    assert cli.run(["topics", "apply"]) == 0
    capsys.readouterr()
    assert cli.run(["topics", "plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []
    assert cli.run(["topics", "apply"]) == 0
    assert capsys.readouterr().out == "nothing to do\n"


def test_task_topics_grow_and_configs_follow(settings):
    admin = admin_client(settings)
    apply(admin, settings, ["noop"])
    grown = with_counts(settings, task_partitions=4)
    grown = grown.model_copy(update={"topics": grown.topics.model_copy(update={"retention_ms": {"events": 3_600_000}})})
    assert len(check_topics(admin, grown, ["noop"]).differing) == 5
    apply(admin, grown, ["noop"])
    assert plan(admin, grown, ["noop"]).differences == ()


def test_a_changed_count_is_refused_with_every_difference_and_changes_nothing(settings, capsys, monkeypatch):
    admin = admin_client(settings)
    apply(admin, settings, ["noop"])
    monkeypatch.setenv("HEADRACE_TOPICS__PARTITIONS", "5")
    monkeypatch.setenv("HEADRACE_TOPICS__TASK_PARTITIONS", "9")
    capsys.readouterr()
    assert cli.run(["topics", "apply"]) == 3
    said = capsys.readouterr().err
    for name in ("jobs", "results", "state", "outcomes", "events"):
        assert f"{settings.topics.prefix}.{name} has 3 partitions, 5 wanted: this count cannot change" in said
    assert f"{settings.topics.prefix}.tasks.noop.batch has 2 partitions, 9 wanted (it can grow)" in said
    assert "drain" in said
    assert plan(admin, settings, ["noop"]).differences == ()
    with pytest.raises(TopicMismatch):
        ensure_topics(admin, with_counts(settings, partitions=5), ["noop"])


def test_topics_are_created_at_a_start_only_where_that_is_allowed(settings):
    admin = admin_client(settings)
    forbidden = settings.model_copy(update={"topics": settings.topics.model_copy(update={"create": False})})
    with pytest.raises(TopicMismatch, match="missing"):
        ensure_topics(admin, forbidden, ["noop"])
    assert ensure_topics(admin, settings, ["noop"]).differences == ()


def test_the_command_ends_soon_and_clearly_where_no_broker_answers(settings, capsys, monkeypatch):
    monkeypatch.setenv("HEADRACE_KAFKA__CONNECT_TIMEOUT_S", "1")
    for command in (
        ["status", "j"],
        ["lag"],
        ["topics", "plan"],
        ["outcome", "j"],
        ["cancel", "j"],
        ["dead-letters", "list"],
    ):
        begun = time.monotonic()
        assert cli.run([*command, "-b", "127.0.0.1:9"]) == 3
        said = capsys.readouterr().err
        assert said.startswith("error: Kafka at 127.0.0.1:9 does not answer")
        assert "Traceback" not in said
        assert time.monotonic() - begun < 5


def test_wrong_credentials_are_said_to_be_wrong(
    scram_broker: Callable[[ScramUser], LocalKafka], tmp_path: Path, capsys, monkeypatch
):
    password = secrets.token_hex(8)
    kafka = scram_broker(ScramUser("console", SecretStr(password)))
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256"}
    monkeypatch.setenv("HEADRACE_KAFKA__OPTIONS", json.dumps(options))
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP_SERVERS", str(kafka.sasl_bootstrap_servers))
    monkeypatch.setenv("HEADRACE_KAFKA__SASL_USERNAME", "console")
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HEADRACE_KAFKA__SASL_PASSWORD", "wrong-" + password)
    assert cli.run(["dead-letters", "list"]) == 3
    said = capsys.readouterr().err
    assert "refused the credentials" in said
    assert password not in said
    monkeypatch.setenv("HEADRACE_KAFKA__SASL_PASSWORD", password)
    assert cli.run(["dead-letters", "list"]) == 3
    assert "is not there" in capsys.readouterr().err


@contextmanager
def deployed(settings: Settings, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "echo.yaml").write_text(WORKFLOW)
    with Supervisor(tmp_path / "logs") as supervisor:
        services = [orchestrator_spec(settings, 1, workflows=[folder]), worker_spec(settings, "noop", 1)]
        apply(admin_client(settings), settings, ["noop"])
        start_together(supervisor, services)
        yield


def test_a_job_goes_in_and_its_outcome_comes_out_on_every_way(settings, tmp_path, capsys):
    path = tmp_path / "input.json"
    path.write_text('{"items": ["a", "b"]}')
    with deployed(settings, tmp_path):
        assert (
            cli.run(["submit", str(path), "-w", "echo", "--job-id", "j1", "--wait", "--json", "--timeout", "60"]) == 0
        )
        first = json.loads(capsys.readouterr().out)
        assert (first["job_id"], first["status"], len(first["output"])) == ("j1", "succeeded", 2)
        assert cli.run(["outcome", "j1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == first
        assert cli.run(["status", "j1", "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["status"], status["tasks"]["done"]) == ("succeeded", 2)
        assert cli.run(["watch", "j1"]) == 0
        assert "answers 2/2" in capsys.readouterr().err
        assert cli.run(["status", "unknown"]) == 1
        capsys.readouterr()
        assert cli.run(["lag", "--json"]) == 0
        pools = json.loads(capsys.readouterr().out)["pools"]
        assert [(one["pool"], one["lane"], one["members"]) for one in pools] == [
            ("noop", "interactive", 1), ("noop", "batch", 1)
        ]  # fmt: skip
        (tmp_path / "wrong.json").write_text('{"workflow": "nothing@1", "job_id": "j2"}')
        assert cli.run(["submit", str(tmp_path / "wrong.json"), "--wait", "--json", "--timeout", "60"]) == 1
        assert json.loads(capsys.readouterr().out)["reason"] == "unknown_workflow"
        with HeadraceClient(settings) as client:
            ids = [client.submit("echo", {"items": [str(number)]}) for number in range(20)]
            outcomes = client.wait(ids, 60)
            assert [outcome.status for outcome in outcomes.values()] == [JobStatus.SUCCEEDED] * 20
            assert client.status(ids[0]).finished


def test_waiting_ends_when_its_time_is_over(settings):
    apply(admin_client(settings), settings, ["noop"])
    with HeadraceClient(settings) as client:
        job_id = client.submit("echo", {"items": []})
        with pytest.raises(OutcomeTimeout):
            client.outcome(job_id, 0.2)


@pytest.mark.slow
def test_the_demo_runs_with_the_scripted_provider_and_prints_one_line(bootstrap_servers, tmp_path):
    environment = {
        **os.environ,
        "HEADRACE_DATA_DIR": str(tmp_path),
        "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
    }
    command = [sys.executable, "-m", "headrace.console", "demo", "--provider", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["outcome"] == "succeeded"
    assert result["tasks"] >= 6
    assert len(result["notes"]) == result["chunks"] > 5
    assert {"tokens", "cost_microusd", "seconds", "model_seconds", "setup_seconds", "summary"} <= set(result)
    assert result["seconds"] < 60
    assert "Scripted provider" in done.stderr

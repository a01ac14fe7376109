"""`headrace dead-letters` against a real broker, an orchestrator and a worker: found, changed, sent back, done."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.console import cli
from headrace.console.deployment import worker_command
from headrace.console.letter_session import LetterSession
from headrace.schemas.codec import Record
from headrace.schemas.errors import Fenced
from headrace.schemas.messages import Lane
from tests.orchestrators import Site, site, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.slow]

POOLS = """
endpoints: {here: {adapter: noop, public: false}, away: {adapter: noop, public: true}}
pools: {noop: {endpoint: here, concurrency: 64}, public: {endpoint: away}}
"""


@pytest.fixture
def here(bootstrap_servers: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site(bootstrap_servers, topic_prefix, tmp_path) as made:
        (tmp_path / "pools.yaml").write_text(POOLS)
        for name, value in made.environment.items():
            if name.startswith("HEADRACE_"):
                monkeypatch.setenv(name, value)
        yield made


def start_worker(here: Site) -> None:
    with (here.folder / "worker.log").open("ab") as log:
        here.processes.append(subprocess.Popen(worker_command("noop"), env=here.environment, stdout=log, stderr=log))


def letters(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert cli.run(["dead-letters", "list", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_was_set_aside_is_found_changed_sent_back_and_not_listed_again(
    here: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    topics = here.settings.topic_names
    here.start("a")
    here.wait_for_log("a", "partitions.taken_over")
    start_worker(here)
    # A job from the future, a cancel of nobody, a task that cannot be read, a job that conflicts with another.
    newer = {"job_id": "new-1", "workflow": "one", "input": {"who": "you"}}
    here.produce(json.dumps(newer).encode(), key=b"new-1", headers=[("x-schema", b"job"), ("x-schema-version", b"7")])
    here.produce(b'{"type": "cancel", "job_id": "nobody"}', key=b"nobody")
    here.produce(b"{broken", key=b"gone-1/say/0", topic=topics.tasks("noop", Lane.BATCH))
    here.submit("twice")
    assert here.wait_for_outcome("twice")["status"] == "succeeded"
    here.submit("twice", input={"who": "somebody else"})
    wait_until(lambda: len(letters(capsys)) == 4, "4 letters")
    by_reason = {letter["reason"]: letter for letter in letters(capsys)}
    assert set(by_reason) == {"unknown_version", "unknown_job", "invalid_json", "job_conflict"}
    assert [one["job_id"] for one in letters(capsys, "--reason", "invalid_json", "--topic", "tasks.noop.batch")] == [
        "gone-1"
    ]
    # Nothing is sent: no letter is named; the change breaks the contract; the job is over.
    assert cli.run(["dead-letters", "redrive", "--yes"]) == 2
    conflict = by_reason["job_conflict"]["id"]
    assert cli.run(["dead-letters", "redrive", conflict]) == 1
    assert "its outcome stands" in capsys.readouterr().out
    assert cli.run(["dead-letters", "redrive", conflict, "--set", 'job_id="thrice"', "--set", "priority=1000"]) == 2
    assert "priority" in capsys.readouterr().err
    assert cli.run(["dead-letters", "redrive", conflict, "--set", 'job_id="thrice"', "--dry-run"]) == 0
    assert '"job_id": "thrice"' in capsys.readouterr().out
    assert len(letters(capsys)) == 4
    # Sent: the conflict under another id, the newer one with its value mended.
    assert cli.run(["dead-letters", "redrive", conflict, "--set", 'job_id="thrice"', "--json"]) == 0
    sent = json.loads(capsys.readouterr().out)
    assert (sent["action"], sent["id"]) == ("redriven", conflict)
    assert here.wait_for_outcome("thrice")["output"].startswith("hello somebody else")
    (tmp_path / "mended.json").write_text(json.dumps(newer))
    version = by_reason["unknown_version"]["id"]
    assert cli.run(["dead-letters", "redrive", version, "--value", str(tmp_path / "mended.json")]) == 0
    assert here.wait_for_outcome("new-1")["status"] == "succeeded"
    assert cli.run(["dead-letters", "redrive", version]) == 1, "it was sent back before"
    assert cli.run(["dead-letters", "drop", "--reason", "unknown_job"]) == 0
    assert {letter["reason"] for letter in letters(capsys)} == {"invalid_json"}
    resolved = {one["reason"]: one["resolution"] for one in letters(capsys, "--all")}
    assert resolved["job_conflict"]["to"] == sent["to"]
    assert resolved["unknown_job"]["action"] == "dropped"
    assert resolved["invalid_json"] is None
    assert cli.run(["dead-letters", "show", conflict]) == 0
    assert "redriven to" in capsys.readouterr().out


def test_a_task_that_failed_for_good_gets_another_life_while_its_job_runs(
    here: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = {
        "name": "half", "version": 1, "output": "{{ notes }}",
        "steps": {"notes": {"for_each": "{{ input['items'] }}", "require": {"at_least": 1},
                            "llm": {"pool": "noop", "prompt": "note {{ item }}"}}},
    }  # fmt: skip
    here.start("a")
    here.submit("half-1", workflow, input={"items": ["a", "b"]})  # type: ignore[arg-type]
    wait_until(lambda: len(here.tasks()) == 2, "both tasks")
    bad, good = sorted(here.tasks(), key=lambda task: task.task_id)
    failure = {"kind": "bad_request", "message": "no"}
    result = {"task_id": bad.task_id, "job_id": "half-1", "attempt": 1, "failure": failure, "pool": "noop"}
    here.produce(
        json.dumps(result).encode(), key=b"half-1", topic=here.settings.topic_names.results,
        partition=bad.reply_partition,
    )  # fmt: skip
    wait_until(lambda: [one["reason"] for one in letters(capsys)] == ["exhausted"], "the letter")
    (letter,) = letters(capsys, "--reason", "exhausted", "--pool", "noop", "--workflow", "half")
    assert (letter["task_id"], letter["attempts"][0]["kind"]) == (bad.task_id, "bad_request")
    order = ["dead-letters", "redrive", letter["id"], "--set", 'messages.0.content="again"', "--json"]
    assert cli.run([*order, "--to-pool", "nowhere"]) == 2
    assert cli.run(order) == 0
    wait_until(lambda: len(here.tasks()) == 3, "another attempt")
    again = next(task for task in here.tasks() if task.attempt == 2)
    assert again.call is not None
    assert (again.task_id, again.call.messages[0].content) == (bad.task_id, "again")
    here.answer(again)
    here.answer(good)
    outcome = here.wait_for_outcome("half-1")
    assert (outcome["status"], outcome["output"]) == ("succeeded", ["again", "note b"])


def test_two_who_resolve_letters_at_once_never_send_one_twice(here: Site) -> None:
    jobs = here.settings.topic_names.jobs

    def note(_place: str) -> Record:
        return Record(here.settings.topic_names.dead_letters, b"k", b"{}")

    with LetterSession(here.settings) as first:
        first.send(Record(jobs, b"a", b"1"), note)
        with LetterSession(here.settings) as second:
            with pytest.raises(Fenced):
                first.send(Record(jobs, b"a", b"2"), note)
            second.send(Record(jobs, b"a", b"3"), note)
            second.note([note("")])
    assert sorted(message.value() or b"" for message in here.read(jobs)) == [b"1", b"3"]


def test_a_thousand_letters_are_listed_and_dropped_in_seconds(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    letter = {"reason": "r", "message": "m", "at_ms": 1, "by": "me", "job_id": "j"}
    topic = here.settings.topic_names.dead_letters
    for number in range(1_000):
        origin = {"topic": here.settings.topic_names.jobs, "partition": 0, "offset": number}
        here.produce(json.dumps({**letter, "origin": origin}).encode(), topic=topic, flush=False)
    here.produce(json.dumps({**letter, "origin": {"topic": "x", "partition": 0, "offset": 0}}).encode(), topic=topic)
    began = time.monotonic()
    assert len(letters(capsys, "--limit", "2000")) == 1_001
    assert cli.run(["dead-letters", "drop", "--job", "j"]) == 0
    assert letters(capsys) == []
    assert time.monotonic() - began < 30

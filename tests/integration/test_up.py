"""``headrace up`` to ``headrace down``, and a worker's replicas: what was started works, ends, and leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.deployment import free_port

from headrace.runtime.kafka import admin_client
from headrace.runtime.processes import ProcessRef
from headrace.runtime.settings import load_settings
from headrace.runtime.topic_plan import ensure_topics

pytestmark = [pytest.mark.broker, pytest.mark.slow]

WORKFLOW = """
name: greet
version: 1
steps:
  notes: {for_each: "{{ input.names }}", llm: {pool: small, prompt: "note {{ item }}"}}
  all: {reduce: notes, llm: {pool: noop, prompt: "{{ items | join(';') }}"}}
output: {count: "{{ notes | length }}", all: "{{ all }}"}
"""


class Shell:
    """Runs commands as a user does: the environment is all they share."""

    def __init__(self, bootstrap_servers: str, prefix: str, folder: Path) -> None:
        port = free_port()
        pools = {
            "endpoints": {
                "local": {"base_url": f"http://127.0.0.1:{port}/v1", "public": False},
                "here": {"adapter": "noop", "public": False},
            },
            "pools": {
                "small": {"endpoint": "local", "model": "small", "concurrency": 4},
                "noop": {"endpoint": "here", "concurrency": 4},
            },
        }
        self.folder = folder
        (folder / "pools.yaml").write_text(yaml.safe_dump(pools))
        (folder / "greet.yaml").write_text(WORKFLOW)
        (folder / "input.json").write_text('{"names": ["a", "b", "c"]}')
        given = {
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "HEADRACE_TOPICS__PREFIX": prefix,
            "HEADRACE_TOPICS__PARTITIONS": "3",
            "HEADRACE_TOPICS__TASK_PARTITIONS": "2",
            "HEADRACE_POOLS_FILE": str(folder / "pools.yaml"),
            "HEADRACE_DATA_DIR": str(folder / "data"),
        }
        self.env = {**os.environ, **given}
        self.settings = load_settings(
            kafka={"bootstrap_servers": bootstrap_servers},
            topics={"prefix": prefix, "partitions": 3, "task_partitions": 2},
            pools_file=folder / "pools.yaml",
            data_dir=folder / "data",
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.console", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.env, cwd=self.folder, timeout=60, check=False
        )

    def answer(self, *arguments: str, code: int = 0) -> Any:
        done = self.run(*arguments)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command that stays; whatever the test did, it is gone afterwards."""
        with (self.folder / "said.txt").open("wb") as said:
            command = [sys.executable, "-m", "headrace.console", *arguments]
            process = subprocess.Popen(command, stderr=said, stdout=said, env=self.env, cwd=self.folder)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def wait_for(self, pattern: str, process: subprocess.Popen[bytes], *, times: int = 1) -> list[str]:
        deadline = time.monotonic() + 60
        while len(found := re.findall(pattern, self.said())) < times:
            assert process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return found


@pytest.fixture
def shell(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> Shell:
    return Shell(bootstrap_servers, topic_prefix, tmp_path)


def children(pids: list[str]) -> list[ProcessRef]:
    found = [ProcessRef.of(int(pid)) for pid in pids]
    assert all(found), "a process that was announced does not live"
    return [ref for ref in found if ref is not None]


def wait_until_gone(refs: list[ProcessRef]) -> None:
    deadline = time.monotonic() + 5
    while left := [ref for ref in refs if ref.alive()]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def test_up_starts_everything_a_job_runs_and_down_leaves_nothing(shell: Shell) -> None:
    with shell.running("up", "--provider", "--workflows", "greet.yaml") as up:
        shell.wait_for(r"ready; Ctrl-C", up)
        started = dict(re.findall(r"^(\S+)\s+pid (\d+)", shell.said(), re.MULTILINE))
        assert set(started) == {"provider", "orchestrator-1", "worker-small-1", "worker-noop-1"}
        refs = children(list(started.values()))

        again = shell.run("up", "--provider")
        assert again.returncode == 2
        assert f"runs already (pid {up.pid})" in again.stderr

        options = ["-w", "greet", "--job-id", "first", "--wait", "--timeout", "30", "--json"]
        outcome = shell.answer("submit", "input.json", *options)
        assert (outcome["job_id"], outcome["status"], outcome["output"]["count"]) == ("first", "succeeded", 3)
        status = shell.answer("status", "first", "--json")
        assert (status["status"], status["tasks"]["done"]) == ("succeeded", 4)
        lag = shell.answer("lag", "--json")
        assert lag["prefix"] == shell.settings.topics.prefix
        assert {(one["pool"], one["lane"]) for one in lag["pools"]} == {
            (pool, lane) for pool in ("small", "noop") for lane in ("interactive", "batch")
        }
        assert {one["members"] for one in lag["pools"]} == {1}
        missing = shell.run("status", "nothing", "--json")
        assert missing.returncode == 1

        down = shell.run("down")
        assert (down.returncode, down.stdout) == (0, "stopped\n"), down.stderr
        assert up.wait(10) == 0, shell.said()
        wait_until_gone(refs)
        assert not (shell.folder / "data" / "up.json").exists()
        idle = shell.run("down")
        assert (idle.returncode, idle.stdout) == (0, "was not running\n")
    assert "Traceback" not in shell.said()


def test_up_that_is_killed_takes_its_processes_along_and_the_next_one_starts(shell: Shell) -> None:
    with shell.running("up", "--provider", "--workflows", "greet.yaml") as up:
        shell.wait_for(r"ready; Ctrl-C", up)
        refs = children(re.findall(r"pid (\d+)", shell.said()))
        up.kill()
        up.wait(10)
        wait_until_gone(refs)
    assert shell.run("down").stdout == "was not running\n"
    with shell.running("up", "--provider", "--workflows", "greet.yaml") as up:
        shell.wait_for(r"ready; Ctrl-C", up)
        refs = children(re.findall(r"pid (\d+)", shell.said()))
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0, shell.said()
        wait_until_gone(refs)


def test_replicas_are_processes_of_one_group_and_sigterm_drains_them(shell: Shell) -> None:
    ensure_topics(admin_client(shell.settings), shell.settings, ["small", "noop"])
    with shell.running("worker", "noop", "--replicas", "2") as worker:
        refs = children(shell.wait_for(r"worker-noop-\d: pid (\d+)", worker, times=2))
        assert len({ref.pid for ref in refs}) == 2
        deadline = time.monotonic() + 30
        while {one["members"] for one in shell.answer("lag", "--json")["pools"] if one["pool"] == "noop"} != {2}:
            assert time.monotonic() < deadline, "the replicas do not join"
        worker.terminate()
        assert worker.wait(60) == 0, shell.said()
        wait_until_gone(refs)
    for number in (1, 2):
        lines = (shell.folder / "data" / "logs" / f"worker-noop-{number}.log").read_text()
        assert "Traceback" not in lines
        assert '"level": "error"' not in lines
    unknown = shell.run("worker", "nop", "--replicas", "2")
    assert unknown.returncode == 2
    assert "noop" in unknown.stderr

"""The tool `mcp` against a real server of the official SDK, over both of its ways."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.runtime.pools import load_pools
from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from tests.unit.workers.tools.kit import call, config_of, opened, runner_of, tool_task

SERVER = str(Path(__file__).with_name("mcp_server.py"))
STDIO = {"command": [sys.executable, SERVER]}


def ask(remote, arguments=None, *, server=STDIO, **fields):
    return call(arguments or {}, kind="mcp", server=server, remote=remote, **fields).output


def failure(remote, arguments=None, **fields):
    with pytest.raises(AdapterError) as caught:
        ask(remote, arguments, **fields)
    return caught.value


@pytest.fixture(scope="module")
def over_http():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVER, str(port)])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield {"url": f"http://127.0.0.1:{port}/mcp"}
    finally:
        process.terminate()
        process.wait(10)


def test_structured_answers_come_as_json_and_text_as_text():
    assert ask("add", {"a": 2, "b": 3}) == {"result": 5}
    assert ask("greet", {"name": "Ann"}) == "hello Ann"


def test_a_server_that_listens_is_asked_over_http(over_http):
    assert ask("add", {"a": 2, "b": 3}, server=over_http) == {"result": 5}
    assert failure("wait", {"seconds": 5}, server=over_http, timeout_s=0.5).kind is ErrorKind.TIMEOUT
    assert failure("fail", {"text": "no"}, server=over_http).kind is ErrorKind.SERVER_ERROR


def test_a_server_sees_what_it_is_given_and_nothing_of_the_workers_own(monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", "s3cret")
    server = {**STDIO, "env": {"MODE": "test"}, "env_from": ["TOKEN"]}
    seen = ask("environment", server=server, secrets={"TOKEN": "t0ken"})
    assert (seen["MODE"], seen["TOKEN"]) == ("test", "t0ken")
    assert "PROVIDER_KEY" not in seen
    assert set(seen) <= {"MODE", "TOKEN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


def test_arguments_are_held_to_the_servers_schema_before_they_are_sent():
    error = failure("add", {"a": "two", "b": 3})
    assert (error.kind, error.unconfirmed) == (ErrorKind.BAD_REQUEST, False)
    assert "by the MCP server's schema" in error.message


def test_one_tool_of_a_server_is_no_way_to_another():
    schema = {"type": "object"}
    config = config_of(name="greet", kind="mcp", server=STDIO, arguments=schema)

    async def main():
        runner = runner_of({"greet": config})
        await runner.start()
        try:

            async def begin():
                pass

            return [
                (await runner.run(tool_task(tool=name, arguments={"name": "Ann"}), begin)).result
                for name in ("greet", "crash", "add")
            ]
        finally:
            await runner.close()

    good, *others = asyncio.run(main())
    assert good.output == "hello Ann"
    assert {result.failure.kind for result in others} == {ErrorKind.BAD_REQUEST}


def test_a_tool_that_the_server_does_not_have_is_said_at_the_start():
    with pytest.raises(ConfigError, match="no tool 'gret' \\(did you mean 'greet'"):
        ask("gret")
    with pytest.raises(ConfigError, match="No such file"):
        ask("greet", server={"command": ["/no/such/server"]})
    with pytest.raises(ConfigError, match="needs TOKEN"):
        ask("greet", server={**STDIO, "env_from": ["TOKEN"]})


def test_what_the_server_calls_destructive_is_not_called_as_if_it_were_not():
    with pytest.raises(ConfigError, match="side_effect: true"):
        ask("wipe", side_effect=False)
    assert ask("wipe") == {"result": "wiped"}


def test_a_call_that_changes_something_carries_its_key():
    assert ask("key", key="j/pay/0") == {"result": "j/pay/0"}
    assert ask("key", key="j/pay/0", side_effect=False) == {"result": "None"}


def test_a_tool_that_fails_says_why_and_leaves_a_doubt():
    error = failure("fail", {"text": "no such document"})
    assert (error.kind, error.unconfirmed) == (ErrorKind.SERVER_ERROR, True)
    assert "no such document" in error.message


def test_a_slow_tool_is_given_up_and_the_session_goes_on():
    async def main():
        async with (
            opened(name="wait", kind="mcp", server=STDIO) as wait,
            opened(name="pid", kind="mcp", server=STDIO) as pid,
        ):
            before = await pid.call({}, timeout_s=5, idempotency_key="k")
            with pytest.raises(AdapterError) as caught:
                await wait.call({"seconds": 30}, timeout_s=0.3, idempotency_key="k")
            return caught.value, before, await pid.call({}, timeout_s=5, idempotency_key="k")

    error, before, after = asyncio.run(main())
    assert (error.kind, error.unconfirmed) == (ErrorKind.TIMEOUT, True)
    assert before == after


def test_tools_of_one_server_share_its_process_and_calls_go_side_by_side():
    async def main():
        async with (
            opened(name="wait", kind="mcp", server=STDIO) as wait,
            opened(name="pid", kind="mcp", server=STDIO) as pid,
            opened(name="also", kind="mcp", server=STDIO, remote="pid") as also,
        ):
            began = time.monotonic()
            await asyncio.gather(*(wait.call({"seconds": 0.5}, timeout_s=5, idempotency_key="k") for _ in range(8)))
            took_s = time.monotonic() - began
            pids = [(await one.call({}, timeout_s=5, idempotency_key="k")).output for one in (pid, also)]
            return took_s, pids

    took_s, pids = asyncio.run(main())
    assert took_s < 3
    assert pids[0] == pids[1]
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0]["result"], 0)


def test_a_server_that_dies_in_a_call_leaves_a_doubt_and_the_next_call_starts_another():
    async def main():
        async with (
            opened(name="crash", kind="mcp", server=STDIO) as crash,
            opened(name="pid", kind="mcp", server=STDIO) as pid,
        ):
            before = await pid.call({}, timeout_s=5, idempotency_key="k")
            with pytest.raises(AdapterError) as caught:
                await crash.call({}, timeout_s=10, idempotency_key="k")
            return caught.value, before, await pid.call({}, timeout_s=20, idempotency_key="k")

    error, before, after = asyncio.run(main())
    assert (error.kind, error.unconfirmed) == (ErrorKind.NETWORK, True)
    assert before != after


def test_a_server_that_is_away_at_the_start_is_asked_again_at_the_first_call():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    error = failure("add", {"a": 1, "b": 2}, server={"url": url}, timeout_s=5)
    assert (error.kind, error.unconfirmed) == (ErrorKind.NETWORK, False)


@pytest.mark.parametrize(
    "program", ["import sys; print('no JSON at all'); sys.stdin.read()", "import time; time.sleep(60)"]
)
def test_a_command_that_speaks_no_mcp_does_not_hold_up_the_worker(program, monkeypatch):
    monkeypatch.setattr("headrace.workers.tools.mcp_session.CONNECT_S", 1.0)
    began = time.monotonic()
    error = failure("add", {"a": 1, "b": 2}, server={"command": [sys.executable, "-c", program]}, timeout_s=2)
    assert (error.kind, error.unconfirmed) in {(ErrorKind.NETWORK, False), (ErrorKind.TIMEOUT, False)}
    assert time.monotonic() - began < 20


def test_a_servers_tools_are_listed_as_a_pools_file_has_them(tmp_path):
    def listing(*arguments):
        command = [sys.executable, "-m", "headrace.workers.tools.mcp_listing", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    listed = listing(sys.executable, SERVER)
    path = tmp_path / "pools.yaml"
    path.write_text(listed.stdout)
    tools = load_pools(path).tools
    assert {"add", "greet", "wipe"} <= set(tools)
    assert tools["add"].argument_names() == ("a", "b")
    assert tools["add"].side_effect
    assert [listing("/no/such/server").returncode, listing().returncode] == [2, 2]

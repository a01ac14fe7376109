"""The real model server over real HTTP. The bars are wide: these tests share their processors with others."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jinja2
import pytest
import yaml

from headrace.runtime.local_model import (
    ModelServer,
    base_url,
    bundled_small_model,
    command,
    server_available,
    wait_until_ready,
)

pytestmark = pytest.mark.model

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTES = 8


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(port: int) -> subprocess.Popen[bytes]:
    server = ModelServer(bundled_small_model(), ("small", "large"), port)
    return subprocess.Popen(command(server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if reason := server_available():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    port = free_port()
    with launch(port) as process:
        try:
            wait_until_ready(base_url(port), timeout_s=30, alive=lambda: process.poll() is None)
            yield base_url(port)
        finally:
            process.kill()


def ask(url: str, **body: Any) -> dict[str, Any]:
    reply = httpx.post(f"{url}/chat/completions", json={"temperature": 0, **body}, timeout=300, trust_env=False)
    reply.raise_for_status()
    return dict(reply.json())


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_chat_is_answered_with_usage(url: str) -> None:
    reply = ask(url, model="small", messages=say("Say hello."), max_completion_tokens=8)
    assert reply["choices"][0]["message"]["content"].strip()
    assert 1 <= reply["usage"]["completion_tokens"] <= 8
    assert reply["usage"]["prompt_tokens"] > 4


def test_one_process_has_both_names_and_replies_say_which_model_it_is(url: str) -> None:
    assert {"small", "large"} <= set(wait_until_ready(url))
    for name in ("small", "large"):
        reply = ask(url, model=name, messages=say("Say hello."), max_completion_tokens=2)
        assert reply["model"].startswith("SmolLM2-135M")


def test_an_answer_obeys_the_json_schema_of_the_example(url: str) -> None:
    llm = yaml.safe_load((EXAMPLES / "classify" / "workflow.yaml").read_text())["steps"]["labels"]["llm"]
    messages = [*llm["messages"][:-1], *say("My card was swallowed by the machine. I am 99 years old.")]
    schema = {"name": "output", "schema": llm["output"], "strict": True}
    reply = ask(
        url,
        model="small",
        messages=messages,
        max_completion_tokens=llm["max_output_tokens"],
        response_format={"type": "json_schema", "json_schema": schema},
    )
    label = json.loads(reply["choices"][0]["message"]["content"])
    assert list(label) == ["label"]
    assert label["label"] in llm["output"]["properties"]["label"]["enum"]


def chunks(text: str, *, characters: int) -> list[str]:
    """Cut at sentences: near enough to the product's splitter, which counts tokens."""
    found = [""]
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        if len(found[-1]) + len(sentence) > characters:
            found.append("")
        found[-1] = f"{found[-1]} {sentence}".strip()
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)  # 8 s on idle processors; measured eight times that beside a full test run.
def test_most_notes_of_the_example_end_by_themselves(url: str) -> None:
    steps = yaml.safe_load((EXAMPLES / "summarise" / "workflow.yaml").read_text())["steps"]
    extra = yaml.safe_load((EXAMPLES / "pools.yaml").read_text())["endpoints"]["local"]["extra_body"]
    text = json.loads((EXAMPLES / "summarise" / "input" / "kennedy-1963.json").read_text())["text"]
    llm = steps["notes"]["llm"]
    parts = chunks(text, characters=4 * steps["chunks"]["split"]["size"])[:NOTES]

    def note(part: str) -> str:
        prompt = jinja2.Template(llm["prompt"]).render(item=part)
        reply = ask(url, model="small", messages=say(prompt), max_completion_tokens=llm["max_output_tokens"], **extra)
        assert len(reply["choices"][0]["message"]["content"]) > 20
        return str(reply["choices"][0]["finish_reason"])

    with ThreadPoolExecutor(4) as callers:
        reasons = list(callers.map(note, parts))
    assert reasons.count("stop") >= 0.8 * NOTES, reasons


def test_sigterm_ends_the_server_cleanly() -> None:
    port = free_port()
    with launch(port) as process:
        try:
            wait_until_ready(base_url(port), timeout_s=30, alive=lambda: process.poll() is None)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        start = [sys.executable, "-m", "headrace.runtime.local_model", "--port", port]
        done = subprocess.run(start, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr

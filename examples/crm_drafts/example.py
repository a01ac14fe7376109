"""Records of a legacy CRM become jobs, and drafts of e-mails return in its own formats, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from headrace.console.deployment import service_environment
from headrace.examples.deployment import Deployment
from headrace.examples.provider import Provider
from headrace.examples.stage import Stage

CALLS = 7
"""Of ten records two are refused by the workflow's schema, and one is no row."""
PATIENCE_S = 60.0


def run(stage: Stage) -> None:
    model = stage.provider(stage.home / "answers.yaml")
    here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}))
    outbox, inbox, again = stage.home / "input", stage.scratch / "inbox", stage.scratch / "again"
    for folder in (inbox, again):
        shutil.rmtree(folder, ignore_errors=True)
    before = _bytes(outbox)
    if stage.given_pools is None:  # Only the scripted provider tells when it was called.
        with _bridge(stage, here, inbox) as bridge:
            _wait_for_a_call(model)
            bridge.kill()
        expected, left = _bytes(stage.home / "expected"), _bytes(inbox)
        whole = all(left[name] == expected[name] for name in left.keys() & expected.keys())
        stage.expect("a bridge that is killed half-way leaves no half answer", whole, f"{len(left)} files by then")
    for folder in (inbox, again):
        with _bridge(stage, here, folder) as bridge:
            code = bridge.wait()
        stage.expect(f"every file of the CRM has its answer ({folder.name})", set(_bytes(folder)) == set(before), code)
    stage.expect("read again, the same bytes come out", _bytes(again) == _bytes(inbox))
    stage.expect("nothing changed at the CRM", _bytes(outbox) == before, f"{len(before)} files")
    if stage.given_pools is None:
        held = _bytes(inbox) == _bytes(stage.home / "expected")
        stage.expect("the answers are the expected bytes, drafts and problems", held, f"{len(before)} files")
        calls = len(model.log())
        stage.expect("each record was drafted once, however often it was read", calls == CALLS, f"{calls} calls")


def _bridge(stage: Stage, here: Deployment, inbox: Path) -> subprocess.Popen[bytes]:
    """Start the bridge as its users do."""
    command = [sys.executable, "-m", "headrace.examples.crm_drafts.bridge"]
    paths = [str(stage.home / "mapping.yaml"), str(stage.home / "input"), str(inbox)]
    with (stage.scratch / "bridge.log").open("ab") as log:
        environment = {**os.environ, **service_environment(here.settings)}
        return subprocess.Popen([*command, *paths], env=environment, stdin=subprocess.DEVNULL, stderr=log)


def _wait_for_a_call(model: Provider) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not model.log() and time.monotonic() < deadline:
        time.sleep(0.02)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*"))}

"""Two orchestrators and four workers share one job; whichever of them is killed, the outcome is the same."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx
import pytest
from benchmarks.deployment import Deployment, deployment

from headrace.console.client import HeadraceClient
from headrace.schemas.messages import JobStatus

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

TASKS = 200
CALL_MS = 60
WORKFLOW: dict[str, Any] = {
    "name": "shared",
    "version": 1,
    "steps": {
        "first": {
            "for_each": "{{ input.items }}",
            "max_in_flight": 120,
            "retry": {"attempts": 5},
            "llm": {"pool": "http", "prompt": "item {{ item }}"},
        },
        "second": {
            "reduce": "first",
            "fan_in": 8,
            "retry": {"attempts": 5},
            "llm": {"pool": "noop", "prompt": "{% for note in items %}{{ note }};{% endfor %}"},
        },
    },
    "output": {"notes": "{{ first }}", "all": "{{ second }}"},
}
SCRIPT = {"latency": {"ms": CALL_MS}}


def run_job(here: Deployment, job_id: str, victim: str | None) -> Any:
    with HeadraceClient(here.settings) as client:
        client.submit(WORKFLOW, {"items": list(range(TASKS))}, job_id=job_id)
        if victim is not None:
            wait_for_calls(here, job_id, TASKS // 5)
            os.kill(here.pid(victim), signal.SIGKILL)
        return client.outcome(job_id, timeout_s=90)


def calls_of(here: Deployment, job_id: str) -> list[str]:
    log = httpx.get(f"{here.provider_url}/log", timeout=10).json()
    keys = [entry["key"] for entry in log]
    return [key for key in keys if key.startswith(f"{job_id}/")]


def wait_for_calls(here: Deployment, job_id: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(calls_of(here, job_id)) < count:
        assert time.monotonic() < deadline, "the job does not get going"
        time.sleep(0.05)


def test_whichever_process_is_killed_in_the_middle_the_outcome_is_the_same(bootstrap_servers: str) -> None:
    workers = {"http": 2, "noop": 2}
    with deployment(
        workers=workers, orchestrators=2, provider=True, script=SCRIPT, servers=bootstrap_servers, restarts=3
    ) as here:
        undisturbed = run_job(here, "undisturbed", None)
        assert undisturbed.status is JobStatus.SUCCEEDED
        assert len(undisturbed.output["notes"]) == TASKS
        for victim in ("orchestrator-0", "orchestrator-1", "worker-http-0", "worker-noop-1"):
            job_id = f"without-{victim}"
            outcome = run_job(here, job_id, victim)
            assert outcome.status is JobStatus.SUCCEEDED, victim
            assert outcome.output == undisturbed.output, victim
            calls = calls_of(here, job_id)
            # What was in flight at the kill, or answered and not committed, may be called again; nothing else.
            in_flight = 64 + 64 if victim == "worker-http-0" else 0
            assert len(calls) - len(set(calls)) <= in_flight, victim
            assert len(set(calls)) >= TASKS

"""Three conversations, all turns submitted at once: each is answered when those before it have been, whatever fails."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from headrace.examples.deployment import Deployment
from headrace.examples.provider import Provider
from headrace.examples.stage import Stage

TABLE = "CREATE TABLE turns (number INTEGER PRIMARY KEY, turn TEXT UNIQUE, session TEXT, said TEXT, answered TEXT)"
KILLED = ("orchestrator-1", "worker-chat-1")


def run(stage: Stage) -> None:
    conversations = json.loads((stage.home / "input" / "conversations.json").read_text(encoding="utf-8"))
    database = _database(stage.scratch / "conversations.db")
    model = stage.provider(stage.home / "answers.yaml")
    places = {"127.0.0.1:9801": model.address, "conversations.db": str(database)}
    here = stage.deploy(stage.pools(places), workers={"chat": 2}, orchestrators=2)
    jobs = _submit(here, conversations)
    _kill_when(here, lambda: len(_kept(database)) >= 3)
    outcomes = {job_id: here.outcome(job_id) for turns in jobs.values() for job_id in turns}
    answered = [one for one in outcomes.values() if one.status.value == "succeeded"]
    stage.expect("every turn was answered", len(answered) == len(outcomes), f"{len(answered)} of {len(outcomes)}")
    numbers = {name: [outcomes[job_id].output["turn"] for job_id in turns] for name, turns in jobs.items()}
    in_order = all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    stage.expect("each turn saw those before it, and no other", in_order, numbers)
    kept = {name: [said for session, said in _kept(database) if session == name] for name in conversations}
    stage.expect(
        "and each is kept once, in that order", kept == conversations, {name: len(kept[name]) for name in kept}
    )
    retried = sum(one.receipt.attempts for one in outcomes.values()) - 3 * len(outcomes)
    stage.expect("turns were tried again, and the next ones waited for them", retried > 0, f"{retried} more attempts")
    if stage.given_pools is None:  # A real provider has no log.
        _one_at_a_time(stage, model, list(conversations))


def _database(path: Path) -> Path:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(TABLE)
    connection.close()
    return path


def _submit(here: Deployment, conversations: dict[str, list[str]]) -> dict[str, list[str]]:
    """Submit the first turn of each conversation, then the second of each, and wait for no answer."""
    jobs: dict[str, list[str]] = {name: [] for name in conversations}
    for number in range(max(map(len, conversations.values()))):
        for name, messages in conversations.items():
            if number < len(messages):
                given = {"message": messages[number]}
                jobs[name].append(here.submit("dialogue", given, session=name, job_id=str(number + 1)))
    return jobs


def _kill_when(here: Deployment, ready: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Kill an orchestrator and a worker when the conversations have begun: their partitions go to the others."""
    deadline = time.monotonic() + patience_s
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)
    for name in KILLED:
        here.kill(name)


def _kept(database: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT session, said FROM turns ORDER BY number").fetchall()
    finally:
        connection.close()


def _one_at_a_time(stage: Stage, model: Provider, sessions: list[str]) -> None:
    """Look at when the provider was asked: calls of one session never overlap, those of different ones do."""
    calls = sorted(model.log(), key=lambda call: call["at_s"])
    beside = 0
    for name in sessions:
        own = [call for call in calls if f"The session is {name}." in call["body"]["messages"][0]["content"]]
        overlaps = [(a["at_s"], b["at_s"]) for a, b in pairwise(own) if _end(a) > b["at_s"]]
        stage.expect(f"no two calls of {name} at a time", not overlaps, overlaps or f"{len(own)} calls")
    for before, after in pairwise(calls):
        beside += _end(before) > after["at_s"]
    stage.expect("calls of different conversations run side by side", beside > 0, f"{beside} pairs")


def _end(call: dict[str, Any]) -> float:
    return float("inf") if call["ended_s"] is None else float(call["ended_s"])

"""Disputed payments: rows to a small hosted model, masked text to a large one, marked fields to a private one only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import yaml

from headrace.examples.deployment import Deployment
from headrace.examples.stage import Stage

MARKED = ("card", "holder")
BESIDES = ("0161 496 0127", "t.lanyon@post.example", "+44 20 7946 0958", "6011 0009 9013 9424")
"""What the statements say beside these."""
CLOSED = (
    *("jobs", "state", "results"),
    *("tasks.private.batch", "tasks.tool-python.batch", "attempts.private"),
)
"""Topics that no public pool's worker reads, and on which marked values may lie."""
ACTIONS = ["let", "stop", "let", "stop", "let", "ask"]


def run(stage: Stage) -> None:
    given = json.loads((stage.home / "input" / "payments.json").read_text(encoding="utf-8"))
    outside = stage.provider(stage.home / "outside.yaml", "outside")
    inside = stage.provider(stage.home / "here.yaml", "here")
    here = stage.deploy(stage.pools({"127.0.0.1:9801": outside.address, "127.0.0.1:9802": inside.address}))
    outcome = here.run("fraud", given)
    actions = [one["action"] for one in outcome.output["actions"]] if outcome.output else outcome.message
    stage.expect("every payment is decided", actions == ACTIONS, actions)
    repairs = outcome.receipt.steps["owner"].repairs
    stage.expect("a wrong answer of the private model was shown to it and repaired", repairs == 1, f"{repairs} repair")
    secrets = [*(row[field] for row in given["payments"] for field in MARKED), *BESIDES]
    _look_at_topics(stage, here, secrets)
    if stage.given_pools is None:  # A real provider has no log.
        sent = json.dumps(outside.log(), ensure_ascii=False)
        stage.expect(
            "no marked value was sent to the public provider", not _found(secrets, sent), _found(secrets, sent)
        )
        said = json.dumps(inside.log(), ensure_ascii=False)
        cards = [row["card"] for row in given["payments"]]
        stage.expect("the private one was sent every card", len(_found(cards, said)) == len(cards))
    logs = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in stage.scratch.rglob("*.log"))
    stage.expect("no log has one", bool(logs) and not _found(secrets, logs), _found(secrets, logs))
    _leaks_are_refused(stage, here, given)


def _look_at_topics(stage: Stage, here: Deployment, secrets: list[str]) -> None:
    """Read every topic of this run to its end."""
    prefix, found = f"{here.settings.topics.prefix}.", []
    topics = here.topics()
    for topic in topics:
        records = here.records(topic)
        text = "\n".join((one.value() or b"").decode(errors="replace") for one in records)
        if _found(secrets, text):
            found.append(topic.removeprefix(prefix))
    stage.expect("marked values lie on topics of the private side only", set(found) <= set(CLOSED), found)
    stage.expect("and they were looked for where they are", {"jobs", "tasks.private.batch"} <= set(found), len(topics))


def _leaks_are_refused(stage: Stage, here: Deployment, given: dict[str, Any]) -> None:
    """Submit the workflow with changes that would send a marked field outside."""
    workflow = yaml.safe_load((stage.home / "workflow.yaml").read_text(encoding="utf-8"))
    for step, prompt in (("score", "{{ item.card }}"), ("score", "{{ item }}"), ("reading", "{{ owner[index].same }}")):
        leaking = deepcopy(workflow)
        leaking["steps"][step]["llm"]["prompt"] = prompt
        outcome = here.outcome(here.client.submit(leaking, given))
        refused = outcome.status.value == "rejected" and "it is confidential" in outcome.message
        stage.expect(f"{prompt} in {step} is refused", refused, outcome.message)


def _found(secrets: Iterable[str], text: str) -> list[str]:
    """Return the values that a text has, written as they are or without spaces, in whatever case."""
    text = text.lower()
    return [value for value in secrets if value.lower() in text or value.lower().replace(" ", "") in text]

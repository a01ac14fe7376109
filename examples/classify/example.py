"""200 support messages as one job: a task a message, each answer held to six labels."""

from __future__ import annotations

import json
from collections import Counter

from headrace.examples.stage import Stage

LABELS = ("card", "payment", "cash", "transfer", "top_up", "account")


def run(stage: Stage) -> None:
    messages = json.loads((stage.home / "input" / "messages.json").read_text(encoding="utf-8"))
    model = stage.model({})  # Without rules the scripted provider makes up what holds the schema.
    here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}, "../pools.yaml"))
    outcome = here.run("classify", messages)
    answers = outcome.output if isinstance(outcome.output, list) else []
    labels = Counter(str(one["label"]) if one else "none" for one in answers)
    stage.expect("the job succeeded", outcome.status.value == "succeeded", outcome.message or "")
    stage.expect("every message has an answer in its place", len(answers) == len(messages["messages"]), len(answers))
    stage.expect("every answer is one of the labels", set(labels) <= set(LABELS), dict(labels))

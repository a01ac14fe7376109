"""A question goes to the teacher of its subject, and to neither of them where the subject is not sure."""

from __future__ import annotations

import json
from typing import Any

from headrace.examples.stage import Stage
from headrace.schemas.messages import Event, Outcome

SPECIALISTS = {"history": "historian", "mathematics": "mathematician"}
UNSURE = "the classifier is unsure"
DOUBTED = "the classifier's confidence in mathematics is below 0.7, or not known"
FAILED = "the classifier failed: overloaded"


def run(stage: Stage) -> None:
    questions = json.loads((stage.home / "input" / "questions.json").read_text(encoding="utf-8"))["questions"]
    model = stage.provider(stage.home / "answers.yaml")
    here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}))
    jobs = {one["id"]: here.submit("tutor", {name: one[name] for name in ("question", "options")}) for one in questions}
    outcomes = {name: here.outcome(job_id) for name, job_id in jobs.items()}
    stage.expect("every question was answered", all(one.output for one in outcomes.values()), f"{len(outcomes)} jobs")
    for subject, pool in SPECIALISTS.items():
        ids = [one["id"] for one in questions if one["subject"] == subject]
        took = {pool in outcomes[name].receipt.pools for name in ids}
        stage.expect(f"what is {subject} goes to the {pool}", took == {True}, f"{len(ids)} questions")
    outside = [one["id"] for one in questions if one["subject"] == "none"]
    events = here.events_of([jobs[name] for name in outside])
    decided = {name: _decided(events[jobs[name]]) for name in outside}
    stage.expect(
        "an out-of-scope question takes the fallback, and the event says why",
        all(one["to"] == "neither" and one["by"] == "otherwise" and one["reason"] for one in decided.values()),
        decided[outside[0]],
    )
    asked = {pool for name in outside for pool in outcomes[name].receipt.pools}
    stage.expect("and no specialist sees it", asked == {"small"}, sorted(asked))
    if stage.given_pools is None:  # How these two come about is written in answers.yaml; no real provider plays it.
        stage.expect("a doubtful classifier decides nothing", decided["ours-1"]["reason"] == DOUBTED, decided["ours-1"])
        stage.expect("a failing one is not asked again", decided["ours-2"]["reason"] == FAILED, decided["ours-2"])
        stage.expect(
            "none of them cost more than two calls", all(outcomes[name].receipt.attempts == 2 for name in outside)
        )
    _say_costs(stage, list(outcomes.values()))


def _decided(events: list[Event]) -> dict[str, Any]:
    """Return what the event of the decision says."""
    (decision,) = [event.data for event in events if event.type == "route.decided"]
    return decision


def _say_costs(stage: Stage, outcomes: list[Outcome]) -> None:
    for pool in ("small", *SPECIALISTS.values()):
        used = [one.receipt.pools[pool] for one in outcomes if pool in one.receipt.pools]
        stage.say(
            f"  {pool}: {sum(one.tasks for one in used)} calls, ${sum(one.cost_microusd for one in used) / 1e6:.6f}"
        )

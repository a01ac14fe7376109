"""Three models vote on each question; two that agree are enough, and a judge decides where all differ."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from headrace.examples.consensus.recorded import JUDGE, VOTERS, Recorded, read_recorded, script
from headrace.examples.deployment import Deployment
from headrace.examples.stage import Stage
from headrace.schemas.messages import Event, Outcome, PatternReceipt

ADDRESSES = ("127.0.0.1:9811", "127.0.0.1:9812", "127.0.0.1:9813", "127.0.0.1:9814")
LARGE = VOTERS[2]


def run(stage: Stage) -> None:
    questions = json.loads((stage.home / "input" / "questions.json").read_text(encoding="utf-8"))["questions"]
    recorded, answers = read_recorded(stage.home), {one["id"]: one["answer"] for one in questions}
    models = {name: stage.provider(script(name, recorded), name) for name in (*VOTERS, JUDGE)}
    pools = stage.pools(dict(zip(ADDRESSES, (one.address for one in models.values()), strict=True)))
    here = stage.deploy(pools, workflows=(stage.home / "workflow.yaml", stage.home / "as-needed.yaml"))
    calls = len(VOTERS) * len(questions)

    jobs, outcomes = _ask_all(here, "consensus", questions)
    saved = sum(_pattern(one).saved_calls for one in outcomes)
    unknown = sum(one.receipt.unconfirmed.attempts for one in outcomes)
    stage.expect("every question has a verdict", all(one.output for one in outcomes), f"{len(outcomes)} jobs")
    stage.expect("an early quorum cancels the rest", saved > 0, f"{saved} of {calls} calls were not made")
    if stage.given_pools is None:
        asked = len(models[LARGE].log())
        stage.expect(
            "the receipts report the saving as the provider saw it",
            asked + saved <= len(questions) <= asked + saved + unknown,
            f"{LARGE}: {asked} calls and {saved} saved of {len(questions)}, {unknown} not known when their jobs ended",
        )
        ties = _ties(recorded)
        events = here.events_of(jobs)
        judged = {one["id"] for one, job in zip(questions, jobs, strict=True) if _judged(events[job])}
        stage.expect("the judge decides the ties, and nothing else", judged == ties, sorted(judged))
    for name in VOTERS:
        right = sum(one.model == name and one.choice == answers[one.question] for one in recorded)
        stage.say(f"  {name} alone: {right} of {len(questions)} right")
    _say(stage, "all at once", questions, outcomes)

    _, frugal = _ask_all(here, "consensus-as-needed", questions)
    stage.expect(
        "asked as needed, the verdicts are the same",
        [one.output for one in frugal] == [_choice(one) for one in outcomes],
        f"{sum(_pattern(one).saved_calls for one in frugal)} of {calls} calls were not made",
    )
    _say(stage, "as needed", questions, frugal)


def _ask_all(here: Deployment, workflow: str, questions: list[dict[str, Any]]) -> tuple[list[str], list[Outcome]]:
    asked = [{name: one[name] for name in ("id", "question", "options")} for one in questions]
    jobs = [here.submit(workflow, one) for one in asked]
    return jobs, [here.outcome(job_id) for job_id in jobs]


def _pattern(outcome: Outcome) -> PatternReceipt:
    return outcome.receipt.steps["verdict"].pattern or PatternReceipt()


def _choice(outcome: Outcome) -> str | None:
    """Return the letter, which both workflows have in another place."""
    found = outcome.output["choice"] if isinstance(outcome.output, dict) else outcome.output
    return None if found is None else str(found)


def _judged(events: list[Event]) -> bool:
    return any(event.type == "vote.decided" and event.data.get("by") == "judge" for event in events)


def _ties(recorded: list[Recorded]) -> set[str]:
    """Return the questions of which no two voters chose the same, and more than one chose anything."""
    chosen: dict[str, list[str]] = {}
    for one in recorded:
        if one.model in VOTERS and one.choice:
            chosen.setdefault(one.question, []).append(one.choice)
    return {name for name, choices in chosen.items() if len(choices) > 1 and max(Counter(choices).values()) == 1}


def _say(stage: Stage, how: str, questions: list[dict[str, Any]], outcomes: list[Outcome]) -> None:
    right = sum(_choice(one) == question["answer"] for one, question in zip(outcomes, questions, strict=True))
    cost = sum(one.receipt.cost_microusd for one in outcomes) / 1e6
    stage.say(f"  {how}: {right} of {len(questions)} right, ${cost:.6f}")

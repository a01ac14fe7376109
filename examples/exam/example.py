"""500 questions to four recorded models at list prices: each alone, cascades by agreement, votes of three."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import yaml

from headrace.console.deployment import free_port, provider_command
from headrace.examples.deployment import Deployment
from headrace.examples.exam.recorded import Answers, read_answers
from headrace.examples.exam.score import accuracy_of, best_of, points_of
from headrace.examples.exam.ways import SMALLEST_CASCADE, Way, choices_of, costs_of, escalations_of, ways, workflow_of
from headrace.examples.provider import Provider
from headrace.examples.stage import Stage
from headrace.runtime.kafka import headers_of
from headrace.runtime.supervisor import ProcessSpec
from headrace.schemas.codec import decode, header_map
from headrace.schemas.messages import Event, Outcome

RIGHT, COST = 0.92, 0.66
"""What the cascade of the two small models must come to, of the best model alone: the least, and the most."""


def run(stage: Stage) -> None:
    questions = json.loads((stage.home / "input" / "questions.json").read_text(encoding="utf-8"))["questions"]
    cascade = yaml.safe_load((stage.home / "workflow.yaml").read_text(encoding="utf-8"))
    here = stage.deploy(stage.pools({"127.0.0.1:9811": replay(stage).address}))
    jobs = {way: here.submit(of_all(way, cascade), {"questions": questions}) for way in ways()}
    outcomes = {way: here.outcome(job, 600.0) for way, job in jobs.items()}
    failed = {way.name: one.message for way, one in outcomes.items() if one.status.value != "succeeded"}
    stage.expect("each way to ask came to its end", not failed, failed or f"{len(jobs)} jobs of {len(questions)}")
    if not failed:
        check(stage, outcomes, escalated(here), read_answers())


def replay(stage: Stage) -> Provider:
    """Start the server of the recorded answers."""
    server = Provider(free_port())
    command = provider_command(server.port, recorded=stage.home / "recorded.jsonl.gz")
    stage.start(ProcessSpec(name="replay", command=command, ready=server.listens))
    return server


def of_all(way: Way, cascade: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow that asks all questions in one way: a nested job a question."""
    nested = {"inline": workflow_of(way, cascade), "input": {name: f"{{{{ item.{name} }}}}" for name in ASKED}}
    steps = {"choices": {"for_each": "{{ input.questions }}", "workflow": nested}}
    return {"name": "exam-all", "version": 1, "steps": steps, "output": "{{ choices }}"}


ASKED = ("id", "question", "options")


def escalated(here: Deployment) -> Counter[str]:
    """Return how often the last model of a cascade was asked, by job, from the events."""
    found = here.records(here.settings.topic_names.events)
    events = [decode(Event, one.value() or b"", header_map(headers_of(one))) for one in found]
    parents = {event.data["nested_job_id"]: event.job_id for event in events if event.type == "job.nested"}
    return Counter(parents[event.job_id] for event in events if event.type == "cascade.escalated")


def check(stage: Stage, outcomes: dict[Way, Outcome], asked: Counter[str], answers: Answers) -> None:
    """Hold what the jobs came to against the records, and the cascade against the best model."""
    spent = {way: one.receipt.cost_microusd for way, one in outcomes.items()}
    wrong = [way.name for way, one in outcomes.items() if one.output != choices_of(way, answers)]
    stage.expect("each way chose what its rule makes of the recorded answers", not wrong, wrong or "")
    dear = {way.name: spent[way] for way in spent if way.kind != "vote" and spent[way] != sum(costs_of(way, answers))}
    stage.expect("each model and each cascade cost what its calls cost by list price", not dear, dear or "")
    odd = [way.name for way, one in outcomes.items() if asked[one.job_id] != _expected(way, answers)]
    often = f"{asked[outcomes[SMALLEST_CASCADE].job_id]} of {len(answers.right)} by the two smallest"
    stage.expect("each cascade asked its last model where the small ones differ", not odd, odd or often)
    votes = [way for way in spent if way.kind == "vote"]
    full = {way: sum(costs_of(way, answers)) for way in votes}
    saved = {way.name: f"{1 - spent[way] / full[way]:.0%}" for way in votes}
    stage.expect("no vote cost more than three calls", all(spent[way] <= full[way] for way in votes), f"saved: {saved}")
    best = best_of(points_of(answers)).way
    right = accuracy_of(outcomes[SMALLEST_CASCADE].output, answers) / accuracy_of(outcomes[best].output, answers)
    cost = spent[SMALLEST_CASCADE] / spent[best]
    stage.expect("the cascade has 92 % of the best model's right answers", right >= RIGHT, f"{right:.1%}")
    stage.expect("at 66 % of its cost at most", cost <= COST, f"{cost:.1%}")


def _expected(way: Way, answers: Answers) -> int:
    return escalations_of(way, answers) if way.kind == "cascade" else 0

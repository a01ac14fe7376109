"""600 requests, a job each: the nearest department by examples, in doubt a small model, then a large one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.examples.deployment import Deployment
from headrace.examples.stage import Stage
from headrace.runtime.kafka import headers_of
from headrace.schemas.codec import decode, header_map
from headrace.schemas.messages import Event, Outcome

ACCURACY, ABSTAINED = 0.88, 0.20
"""What the examples must come to: the least, and the most."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of one request."""

    domain: str | None
    """Where it belongs, by the data set; None: nowhere."""
    to: str
    """Where it went; ``nobody``: nowhere."""
    by: str
    """What decided: ``semantic``, ``classifier`` (the small model), ``otherwise`` (the large one)."""
    cost_microusd: int

    @property
    def right(self) -> bool:
        return self.to == (self.domain or "nobody")


def run(stage: Stage) -> None:
    requests = json.loads((stage.home / "input" / "requests.json").read_text(encoding="utf-8"))["requests"]
    played = stage.provider(stage.home / "answers.yaml")
    here = stage.deploy(stage.pools({"127.0.0.1:9801": played.address}))
    jobs = {here.submit("triage", {"text": each["text"]}): each["domain"] for each in requests}
    outcomes = here.client.wait(list(jobs), 300.0)
    failed = Counter(one.message for one in outcomes.values() if one.status.value != "succeeded")
    stage.expect("every request came to an end", not failed, dict(failed) or len(outcomes))
    if not failed:
        check(stage, routed(jobs, outcomes, decisions(here)))


def decisions(here: Deployment) -> dict[str, Mapping[str, Any]]:
    """Return what decided each route, by job, from the events."""
    found = here.records(here.settings.topic_names.events)
    events = [decode(Event, one.value() or b"", header_map(headers_of(one))) for one in found]
    return {event.job_id: event.data for event in events if event.type == "route.decided"}


def routed(
    jobs: Mapping[str, str | None], outcomes: Mapping[str, Outcome], decided: Mapping[str, Mapping[str, Any]]
) -> list[Routed]:
    """Return what became of each request."""
    return [
        Routed(domain, str(outcomes[job].output), decided[job]["by"], outcomes[job].receipt.cost_microusd)
        for job, domain in jobs.items()
    ]


def check(stage: Stage, requests: Sequence[Routed]) -> None:
    """Hold what became of all requests to what the example promises, and say the rest."""
    inside = [one for one in requests if one.domain]
    strangers = [one for one in requests if not one.domain]
    by_examples = [one for one in inside if one.by == "semantic"]
    accuracy, abstained = share(by_examples), 1 - len(by_examples) / len(inside)
    stage.expect("of the requests that the examples decided, 88 % went right", accuracy >= ACCURACY, f"{accuracy:.1%}")
    stage.expect("the examples left a fifth in doubt at most", abstained <= ABSTAINED, f"{abstained:.1%}")
    turned_away = [one for one in strangers if one.by != "semantic"]
    nowhere = [one for one in strangers if one.right]
    stage.say(f"  of what belongs nowhere, {len(turned_away) / len(strangers):.0%} was not taken by the examples,")
    stage.say(f"  and {len(nowhere) / len(strangers):.0%} went to nobody in the end (out-of-scope recall)")
    doubts = [one for one in requests if one.by != "semantic"]
    escalated = [one for one in doubts if one.by == "otherwise"]
    stage.expect("doubts were asked of the small model, and some of the large one", 0 < len(escalated) < len(doubts),
                 f"{len(doubts)} of {len(requests)}, {len(escalated)} escalated")  # fmt: skip
    stage.expect("nothing was paid where the examples decided", not any(one.cost_microusd for one in by_examples))
    paid = sum(one.cost_microusd for one in requests)
    stage.say(f"  in doubt {share(doubts):.0%} went right; all: {share(requests):.1%}, for {paid:,} micro-US-dollars")


def share(requests: Sequence[Routed]) -> float:
    """Return how many went right."""
    return sum(one.right for one in requests) / max(1, len(requests))

"""A payment over four services ends in one status, and what a failure leaves behind is undone once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from headrace.examples.deployment import Deployment
from headrace.examples.payment.crashes import Crashes
from headrace.examples.payment.services import Deed, Ledger, services
from headrace.examples.stage import Stage
from headrace.schemas.codec import decode
from headrace.schemas.messages import Outcome

STEPS = ("authorise", "risk", "compliance", "capture")
PORTS = (9811, 9812, 9813, 9814)
CRASHES: dict[tuple[str, Deed], str] = {
    ("risk", "do"): "orchestrator-1",
    ("capture", "do"): "worker-tool-http-1",
    ("compliance", "undo"): "orchestrator-1",
}
"""Who is killed when a service has done something and has not answered yet."""


def run(stage: Stage) -> None:
    payments = json.loads((stage.home / "input" / "payments.json").read_text(encoding="utf-8"))
    ledger = Ledger()
    four = services(ledger)
    places = {f"127.0.0.1:{port}": stage.service(one.handler()) for port, one in zip(PORTS, four, strict=True)}
    here = stage.deploy(stage.pools(places, services=True))
    _Round(stage, here, ledger, "").pay(payments)
    crashes = Crashes(here, CRASHES)
    for one in four:
        one.before_answer = crashes.after
    _Round(stage, here, ledger, " (with crashes)").pay(payments)
    killed = [f"{name} at {deed} {service}" for (service, deed), name in crashes.happened.items()]
    stage.expect("every crash happened", len(killed) == len(CRASHES), ", ".join(killed))
    repeated = sum(one.requests - len(one.answers) for one in four)
    stage.expect("orders came again, with their keys, and were not done again", repeated > 0, repeated)


@dataclass(frozen=True, slots=True)
class _Round:
    """All payments side by side, each held against the ledger."""

    stage: Stage
    here: Deployment
    ledger: Ledger
    under: str

    def pay(self, payments: list[dict[str, Any]]) -> None:
        jobs = [self.here.submit("payment", one["payment"]) for one in payments]
        outcomes = [self.here.outcome(job_id) for job_id in jobs]
        for one, outcome in zip(payments, outcomes, strict=True):
            self._check(one["fails_at"], outcome)
        said = [
            decode(Outcome, one.value() or b"") for one in self.here.records(self.here.settings.topic_names.outcomes)
        ]
        ids = [outcome.job_id for outcome in said]
        once = all(ids.count(job_id) == 1 for job_id in jobs)
        self.stage.expect(f"each payment has one status{self.under}", once, f"{len(jobs)} payments")

    def _check(self, fails_at: str | None, outcome: Outcome) -> None:
        entries = self.ledger.of(outcome.job_id)
        did = [one for one in entries if one.deed == "do"]
        undid = [one for one in entries if one.deed == "undo"]
        steps = STEPS[: STEPS.index(fails_at)] if fails_at else STEPS
        begin = f"{fails_at} fails" if fails_at else "nothing fails"
        then = "what was done was undone once, the last first" if fails_at else "nothing was undone"
        self.stage.expect(
            f"{begin}: each service before it did its part once{self.under}",
            [one.service for one in did] == list(steps),
            " → ".join(one.service for one in did) or "none",
        )
        self.stage.expect(
            f"{begin}: {then}{self.under}",
            [one.id for one in undid] == ([one.id for one in reversed(did)] if fails_at else []),
            " → ".join(one.service for one in undid) or "none",
        )
        self.stage.expect(
            f"{begin}: the status says so{self.under}",
            outcome.status.value == ("failed" if fails_at else "succeeded"),
            outcome.message or outcome.output,
        )

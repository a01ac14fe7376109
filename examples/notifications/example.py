"""A letter an order over three mail providers: one that fails is left alone, and asked again when it is well."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from headrace.examples.deployment import Deployment
from headrace.examples.mail_server import MailServer
from headrace.examples.stage import Stage
from headrace.schemas.messages import Outcome

PORTS = {"one": 9825, "two": 9826, "three": 9827}
WORKER = "worker-tool-email-1"
OPEN_S = 2.0
"""How long a breaker stays open: as in pools.yaml."""
AT_MOST_ASKED = 3 + 4
"""What a provider that is down is asked before it is left alone: the breaker's failures, and calls already begun."""


def run(stage: Stage) -> None:
    orders = json.loads((stage.home / "input" / "orders.json").read_text(encoding="utf-8"))
    mail = {name: stage.enter(MailServer()) for name in PORTS}
    places = {f"port: {port}": f"port: {mail[name].port}" for name, port in PORTS.items()}
    here = stage.deploy(stage.pools(places, services=True))
    post = _Post(stage, here, mail)
    _all_well(post, orders)
    _one_down(post, orders)
    _one_back(post, orders)
    _fate_unknown(post, orders)
    letters = [str(letter["Message-ID"]) for one in mail.values() for letter in one.letters]
    stage.expect("no key was delivered twice", len(set(letters)) == len(letters), f"{len(letters)} letters")


def _all_well(post: _Post, orders: dict[str, Any]) -> None:
    took, _ = post.send("day-1", orders)
    post.stage.expect("all well: provider one takes every letter", took == {"one": len(orders["orders"])}, dict(took))
    took, _ = post.send("day-1", orders)
    post.stage.expect("the same job again sends nothing", not took)


def _one_down(post: _Post, orders: dict[str, Any]) -> None:
    one = post.mail["one"]
    one.replies["CONNECT"], asked = b"421 closed for now", one.connections
    took, outcome = post.send("day-2", orders)
    post.stage.expect(
        "provider one down: 100 % delivered, by provider two", took == {"two": len(orders["orders"])}, dict(took)
    )
    post.stage.expect("each call says who took it", {sent["provider"] for sent in outcome.output} == {"two"})
    asked = one.connections - asked
    post.stage.expect("and provider one is soon left alone", 3 <= asked <= AT_MOST_ASKED, f"asked {asked} times")


def _one_back(post: _Post, orders: dict[str, Any]) -> None:
    del post.mail["one"].replies["CONNECT"]
    time.sleep(OPEN_S)
    took, _ = post.send("day-3", {"orders": orders["orders"][:1]})
    post.stage.expect("recovery is noticed: one letter probes provider one", took == {"one": 1}, dict(took))
    took, _ = post.send("day-4", orders)
    post.stage.expect("and it gets all of them again", took == {"one": len(orders["orders"])}, dict(took))
    states = [line["event"] for line in post.here.log(WORKER) if str(line["event"]).startswith("breaker.")]
    post.stage.expect(
        "the log says so", states == ["breaker.opened", "breaker.probed", "breaker.closed"], " → ".join(states)
    )


def _fate_unknown(post: _Post, orders: dict[str, Any]) -> None:
    post.mail["one"].drop_at.add("CONTENT")
    took, outcome = post.send("day-5", {"orders": orders["orders"][:1]})
    post.stage.expect(
        "a provider that breaks when it has the letter: nobody sends it again, and the outcome says so",
        took == {"one": 1} and outcome.status.value == "failed",
        outcome.message,
    )


@dataclass(frozen=True, slots=True)
class _Post:
    """Sends letters and counts who took them."""

    stage: Stage
    here: Deployment
    mail: dict[str, MailServer]

    def send(self, job_id: str, orders: dict[str, Any]) -> tuple[Counter[str], Outcome]:
        """Run a job; return how many letters each provider took meanwhile, and the outcome."""
        before = {name: len(one.letters) for name, one in self.mail.items()}
        outcome = self.here.run("notifications", orders, job_id=job_id)
        return +Counter({name: len(one.letters) - before[name] for name, one in self.mail.items()}), outcome

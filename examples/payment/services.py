"""The four services of a payment: HTTP, with a ledger, each doing an order once however often it comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, NamedTuple

Order = Mapping[str, Any]
Deed = Literal["do", "undo"]
Answer = tuple[HTTPStatus, dict[str, Any]]

STOLEN_CARD, EXPIRED_CARD = "4000000000000002", "4000000000000341"
LIMIT_CENTS = 1_000_000
LISTED = "Listed Person"


class Entry(NamedTuple):
    """One line of the ledger: something that was really done."""

    service: str
    deed: Deed
    payment: str
    id: str


@dataclass(slots=True)
class Ledger:
    """What all services did, in order; it outlives whatever dies around it."""

    entries: list[Entry] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, payment: str) -> list[Entry]:
        """Return what was done and undone for a payment, in order and as often as it was."""
        with self.lock:
            return [one for one in self.entries if one.payment == payment]


@dataclass(slots=True)
class Service:
    """One service.

    Args:
        name: the step of the saga that it does.
        refuses: why it does not do an order, or None where it does.
        ledger: where it writes down what it did.
    """

    name: str
    refuses: Callable[[Order], str | None]
    ledger: Ledger
    before_answer: Callable[[str, Deed], None] | None = None
    """Called when an order was done and its answer is not sent yet: the worst moment for anything to die."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """What was answered, by Idempotency-Key."""
    requests: int = 0

    def take(self, deed: Deed, key: str, order: Order) -> Answer:
        """Do an order, or answer as before if its key was seen."""
        with self.ledger.lock:
            self.requests += 1
            if key not in self.answers:
                self.answers[key] = self._done(deed, order)
        if self.before_answer is not None:
            self.before_answer(self.name, deed)
        return self.answers[key]

    def _done(self, deed: Deed, order: Order) -> Answer:
        if deed == "do" and (why := self.refuses(order)):
            return HTTPStatus.UNPROCESSABLE_ENTITY, {"refused": why}
        entries = self.ledger.entries
        entries.append(Entry(self.name, deed, order["payment"], order.get("id") or f"{self.name}-{len(entries)}"))
        return HTTPStatus.OK, {"id": entries[-1].id}

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what serves it over HTTP."""
        return type(f"{self.name.title()}Handler", (_Handler,), {"service": self})


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def handle(self) -> None:
        with suppress(ConnectionError):  # Who asked may have been killed.
            super().handle()

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        deed: Deed = "undo" if self.path == "/undo" else "do"
        status, said = self.service.take(deed, self.headers["idempotency-key"], order)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The ledger says more."""


def services(ledger: Ledger) -> list[Service]:
    """Return the four, in the order of the saga, each with the rule by which it refuses."""
    return [
        Service("authorise", lambda order: "the card was stolen" if order["card"] == STOLEN_CARD else None, ledger),
        Service("risk", lambda order: "above the limit" if order["amount_cents"] > LIMIT_CENTS else None, ledger),
        Service("compliance", lambda order: "the holder is on a list" if order["holder"] == LISTED else None, ledger),
        Service("capture", lambda order: "the card has expired" if order["card"] == EXPIRED_CARD else None, ledger),
    ]

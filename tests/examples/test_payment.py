from __future__ import annotations

import pytest

from headrace.examples.payment.example import CRASHES, STEPS
from headrace.examples.payment.services import EXPIRED_CARD, Ledger, services
from tests.examples.conftest import Ran

ORDER = {"payment": "p", "card": "4000000000000077", "amount_cents": 100, "holder": "Ada Byron"}


@pytest.mark.broker
@pytest.mark.slow  # 13 s of it are waits after the kills.
@pytest.mark.timeout(180)
def test_a_failure_at_each_step_is_compensated_once_also_when_processes_are_killed_in_between(ran: Ran) -> None:
    assert set(CRASHES.values()) == {"orchestrator-1", "worker-tool-http-1"}
    held = {check.what: check.saw for check in ran("payment").checks}
    for under in ("", " (with crashes)"):
        for k, step in enumerate(STEPS):
            before = STEPS[:k]
            undone = held[f"{step} fails: what was done was undone once, the last first{under}"]
            assert undone == (" → ".join(reversed(before)) or "none")
            assert f"{step} failed: HTTP 422" in held[f"{step} fails: the status says so{under}"]
        assert f"each payment has one status{under}" in held


def test_an_order_that_comes_again_with_its_key_is_done_once_and_answered_as_before() -> None:
    ledger = Ledger()
    capture = services(ledger)[-1]
    first = capture.take("do", "key-1", ORDER)
    assert capture.take("do", "key-1", ORDER) == first
    assert capture.take("do", "key-2", ORDER) != first
    assert (len(ledger.of("p")), capture.requests) == (2, 3)


def test_what_is_refused_stands_in_no_ledger() -> None:
    ledger = Ledger()
    status, said = services(ledger)[-1].take("do", "key-1", {**ORDER, "card": EXPIRED_CARD})
    assert (status, said) == (422, {"refused": "the card has expired"})
    assert ledger.entries == []

"""Intake and cost: pure bookkeeping."""

from __future__ import annotations

from headrace.schemas.cost import cost_microusd
from headrace.schemas.messages import Usage
from headrace.schemas.pools import Price
from headrace.workers.core.limits import BufferGate, Intake


def test_a_full_buffer_stays_away_for_a_second_then_pauses_and_resumes_below_half():
    gate = BufferGate(10)
    assert gate.decide(9, 0) is Intake.TAKE
    assert gate.decide(10, 100) is Intake.STAY_AWAY
    assert gate.decide(10, 1_099) is Intake.STAY_AWAY
    assert gate.decide(9, 1_100) is Intake.TAKE
    assert gate.decide(10, 2_000) is Intake.STAY_AWAY
    assert gate.decide(10, 3_000) is Intake.POLL_PAUSED
    assert gate.decide(5, 3_001) is Intake.POLL_PAUSED
    assert gate.decide(4, 3_002) is Intake.TAKE


def test_cost_is_rounded_up_and_cached_tokens_have_their_own_price():
    price = Price(input=150_000, cached_input=75_000, output=600_000)
    usage = Usage(input_tokens=1_000, cached_tokens=400, output_tokens=10)
    assert cost_microusd(usage, price) == 126
    assert cost_microusd(Usage(input_tokens=1), price) == 1
    assert cost_microusd(usage, Price()) == 0

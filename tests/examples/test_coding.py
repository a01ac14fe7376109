from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


def test_the_plan_is_bounded_conflicts_are_detected_and_the_tests_decide(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("coding").checks}
    assert held["and repaired once, within the bound"] == "3 tasks of at most 4"
    assert "both edit shop/basket.py" in held["two tasks with one file are detected, before anything is applied"]
    assert held["and the tests hold, run as a tool step"] == "6 tests"

from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]  # 13 s alone, 20 s beside others.


def test_an_early_quorum_cancels_the_rest_and_reports_the_saving(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("consensus").checks}
    assert not held["an early quorum cancels the rest"].startswith("0 of")
    assert "gpt-4o-2024-05-13" in held["the receipts report the saving as the provider saw it"]
    assert held["the judge decides the ties, and nothing else"] == "['2387', '401', '5118']"

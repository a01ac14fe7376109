from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


def test_with_provider_one_down_all_letters_are_delivered_once_and_its_recovery_is_noticed(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("notifications").checks}
    assert held["provider one down: 100 % delivered, by provider two"] == "{'two': 20}"
    assert held["no key was delivered twice"] == "62 letters"
    assert held["recovery is noticed: one letter probes provider one"] == "{'one': 1}"
    assert held["the log says so"] == "breaker.opened → breaker.probed → breaker.closed"

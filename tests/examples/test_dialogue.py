from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]  # Two processes are killed meanwhile.


def test_turns_of_a_session_keep_their_order_over_retries_and_lost_processes(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("dialogue").checks}
    assert held["each turn saw those before it, and no other"].startswith("{'ada': [1, 2, 3, 4, 5]")
    assert sum(what.startswith("no two calls of") for what in held) == 3

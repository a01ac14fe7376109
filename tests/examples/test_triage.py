from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


def test_triage(ran: Ran) -> None:
    assert len(ran("triage").checks) == 5

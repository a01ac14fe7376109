from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


def test_exam(ran: Ran) -> None:
    assert len(ran("exam").checks) == 7

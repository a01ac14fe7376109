from __future__ import annotations

import pytest

from tests.examples.conftest import Ran

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


def test_an_out_of_scope_question_takes_the_fallback(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("tutor").checks}
    said = held["an out-of-scope question takes the fallback, and the event says why"]
    assert "the classifier is unsure" in said
    assert held["and no specialist sees it"] == "['small']"

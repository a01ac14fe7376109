from __future__ import annotations

import pytest

from headrace.examples.fraud.masking import mask
from tests.examples.conftest import Ran

pytestmark = pytest.mark.timeout(180)


@pytest.mark.broker
def test_no_marked_value_reaches_a_public_topic_a_public_request_or_a_log(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("fraud").checks}
    assert held["no marked value was sent to the public provider"] == "[]"
    assert "tasks.private.batch" in held["marked values lie on topics of the private side only"]


@pytest.mark.parametrize(
    ("text", "secrets", "masked"),
    [
        ("ask ADA LOVELACE, card 4929 1203", ["Ada Lovelace", "4929 1203 5567 8812"], "ask […], card […] […]"),
        ("a.b@post.example or +44 20 7946 0958, by 10", [], "[…] or […], by 10"),
        ("nothing here", [""], "nothing here"),
    ],
)
def test_masking_takes_out_what_is_known_and_what_looks_like_it(text: str, secrets: list[str], masked: str) -> None:
    assert mask(text, secrets) == masked

"""What a record of `control` orders, and what is no order."""

from __future__ import annotations

import pytest

from headrace.schemas.codec import encode
from headrace.schemas.errors import ContractError
from headrace.schemas.messages import Control
from headrace.workers.core.orders import read_order

CANCEL = Control(subject="job/j-1", action="cancel", at_ms=1)


def test_an_order_and_its_lifting_are_read():
    assert read_order(b"job/j-1", encode(CANCEL), {}) == ("job/j-1", CANCEL)
    assert read_order(b"job/j-1", None, {}) == ("job/j-1", None)
    assert read_order(b"pool/small", None, {})[0] == "pool/small"


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (None, encode(CANCEL), "invalid_subject"),
        (b"job/", encode(CANCEL), "invalid_subject"),
        (b"job/a b", None, "invalid_subject"),
        (b"job/\xff", None, "invalid_subject"),
        (b"planet/x", None, "invalid_subject"),
        (b"job/" + b"x" * 900_000, None, "invalid_subject"),
        (b"pool/" + b"x" * 900_000, None, "invalid_subject"),
        (b"job/j-2", encode(CANCEL), "subject_mismatch"),
        (b"job/j-1", b"{not json", "invalid_json"),
        (b"job/j-1", b"\xff", "invalid_json"),
        (b"job/j-1", b'{"subject": "job/j-1", "action": "explode", "at_ms": 1}', "invalid_shape"),
    ],
)
def test_what_is_no_order_is_refused_by_name(key, value, kind):
    with pytest.raises(ContractError) as caught:
        read_order(key, value, {})
    assert caught.value.kind == kind
    assert len(caught.value.message) < 500

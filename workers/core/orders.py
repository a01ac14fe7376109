"""What a record of ``control`` orders. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.schemas.codec import decode
from headrace.schemas.errors import DecodeError
from headrace.schemas.ids import JOB_ID, TASK_ID
from headrace.schemas.messages import Control

JOB_PREFIX = "job/"
TASK_PREFIX = "task/"
_OURS = {"job": JOB_ID, "task": TASK_ID}
_OTHERS = ("pool/", "endpoint/")
_MAX_SUBJECT = 300


def read_order(key: bytes | None, value: bytes | None, headers: Mapping[str, str]) -> tuple[str, Control | None]:
    """Return what an order is about and the order; None lifts it.

    Raises:
        DecodeError: no subject, one of an unknown kind, or one that the value contradicts; or the value is no order.
        UnknownSchemaVersion: a newer Headrace wrote it.
    """
    subject = _subject(key)
    if value is None:
        return subject, None
    order = decode(Control, value, headers)
    if order.subject != subject:
        message = f"the record's key is {subject!r} and its value is about {order.subject[:120]!r}"
        raise DecodeError(message, "write the subject as the key", kind="subject_mismatch")
    return subject, order


def _subject(key: bytes | None) -> str:
    subject = (key or b"")[:_MAX_SUBJECT].decode("utf-8", "replace")
    kind, _, rest = subject.partition("/")
    known = _OURS[kind].fullmatch(rest) if kind in _OURS else rest and f"{kind}/" in _OTHERS
    if not known or len(key or b"") > _MAX_SUBJECT:
        raise DecodeError(
            f"an order is about job/<id>, task/<id>, pool/<name> or endpoint/<id>, not {subject[:120]!r}",
            "write the subject as the record's key",
            kind="invalid_subject",
        )
    return subject

"""Where payloads lie in the object store: keys, which also strangers write, and claim checks made of content.

A key names an object below the root of a deployment's store. Submissions and results carry keys, so each is checked
before it is used: relative, plain characters, no segment that begins with a dot (so no ``..``), no scheme.
"""

from __future__ import annotations

import re
from hashlib import sha256

from headrace.schemas.base import ObjectRef
from headrace.schemas.errors import ContractError

MAX_KEY_LENGTH = 500
MAX_OBJECT_BYTES = 67_108_864
"""No object is read or written that is larger: it passes through memory as a whole."""
KEY_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._=+@-]*(/[A-Za-z0-9_][A-Za-z0-9._=+@-]*)*$"
OWN_FOLDER = "sha256"
"""Keys of Headrace itself are content addresses in here; only these are ever swept."""

_KEY = re.compile(KEY_PATTERN)
_OWN_KEY = re.compile(rf"{OWN_FOLDER}/[0-9a-f]{{64}}")


def content_key(digest: str) -> str:
    """Return the key of content by its SHA-256 in hexadecimal."""
    return f"{OWN_FOLDER}/{digest}"


def is_own_key(key: str) -> bool:
    """Return whether a key is a content address, the only form that Headrace writes."""
    return _OWN_KEY.fullmatch(key) is not None


def claim_check(content: bytes) -> ObjectRef:
    """Return the reference under which content lies once it is stored."""
    digest = sha256(content).hexdigest()
    return ObjectRef(key=content_key(digest), size_bytes=len(content), sha256=digest)


def check_object_key(key: str) -> str:
    """Return the key if it is legal.

    Raises:
        ContractError: it is not, of kind ``object_key``.
    """
    if len(key) > MAX_KEY_LENGTH or _KEY.fullmatch(key) is None:
        raise ContractError(
            f"object key {key[:80]!r} is not legal",
            "a key is relative to the store: letters, digits and ._=+@- between slashes, no part beginning with a dot",
            kind="object_key",
        )
    return key


def check_object_ref(ref: ObjectRef, *, at_most: int = MAX_OBJECT_BYTES) -> ObjectRef:
    """Return the reference if it may be followed: before anything is read, since strangers write references.

    Raises:
        ContractError: its key is not legal (``object_key``), or it names more bytes than may be read (``too_large``).
    """
    check_object_key(ref.key)
    if not 0 <= ref.size_bytes <= at_most:
        raise ContractError(
            f"object {ref.key} has {ref.size_bytes:,} bytes by its reference, and at most {at_most:,} are read",
            "make it smaller: split the job, or give lists as items",
            kind="too_large",
        )
    return ref

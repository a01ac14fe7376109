"""The object store: content-addressed, durable, in memory."""

from __future__ import annotations

from hashlib import sha256

from headrace.schemas.messages import ObjectRef


class SimObjects:
    """What outlives every process."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, content: bytes) -> ObjectRef:
        digest = sha256(content).hexdigest()
        key = f"sha256/{digest}"
        self.content[key] = content
        return ObjectRef(key=key, size_bytes=len(content), sha256=digest)

    def get(self, ref: ObjectRef) -> bytes:
        return self.content[ref.key]

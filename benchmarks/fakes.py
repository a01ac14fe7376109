"""What stands in for Kafka's client where a benchmark measures what is around it."""

from __future__ import annotations

from typing import NamedTuple

Headers = list[tuple[str, bytes]]


class Message(NamedTuple):
    """What a consumer or a producer hands out, as far as it is looked at."""

    topic_: str
    partition_: int
    offset_: int
    value_: bytes
    headers_: Headers
    key_: bytes = b""

    def error(self) -> None:
        """Return no error."""

    def topic(self) -> str:
        """Return the topic's name."""
        return self.topic_

    def partition(self) -> int:
        """Return the partition's number."""
        return self.partition_

    def offset(self) -> int:
        """Return the place in the partition."""
        return self.offset_

    def key(self) -> bytes:
        """Return the record's key."""
        return self.key_

    def value(self) -> bytes:
        """Return the record's value."""
        return self.value_

    def headers(self) -> Headers:
        """Return a copy of the headers, as the client does."""
        return list(self.headers_)

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of the time, and a time."""
        return 1, 0


class Waiting:
    """The reading half of a consumer: hands out what waits."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []

    def poll(self, _timeout_s: float) -> Message | None:
        """Return the first record, or None."""
        return self.waiting.pop(0) if self.waiting else None

    def consume(self, count: int, _timeout_s: float) -> list[Message]:
        """Return the first records."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

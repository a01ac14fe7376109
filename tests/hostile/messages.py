"""A record of the corpus as a consumer hands it out, with the client's own trouble about header names."""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad


class CorpusMessage:
    """A confluent_kafka Message, as far as anybody looks at it."""

    def __init__(self, bad: Bad, *, topic: str, partition: int = 0, offset: int = 7) -> None:
        self._bad, self._topic, self._partition, self._offset = bad, topic, partition, offset

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._bad.key

    def value(self) -> bytes | None:
        return self._bad.value

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        try:
            return [(name.decode(), value) for name, value in self._bad.headers] or None
        except UnicodeDecodeError as error:
            raise SystemError("returned a result with an exception set") from error

    def error(self) -> Any:
        return None

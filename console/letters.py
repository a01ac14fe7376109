"""Reads ``dead-letters``: letters, what became of them, and which of them are about the same record."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING

from headrace.console.reader import TopicReader, scan
from headrace.runtime.kafka import headers_of
from headrace.runtime.settings import Settings
from headrace.schemas.codec import SCHEMA_HEADER, decode, header_map
from headrace.schemas.errors import ConfigError, ContractError
from headrace.schemas.messages import DeadLetter, Origin, Resolution

READ_TIMEOUT_S = 300.0
CHUNK = 50
"""Letters whose values are in memory at once; to go to another place in the log costs a tenth of a second."""
_ADDRESS = re.compile(r"([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a letter lies on ``dead-letters``: its id for people."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``PARTITION:OFFSET``.

        Raises:
            ConfigError: the text has another form.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise ConfigError(f"{text[:80]!r} is no PARTITION:OFFSET", "headrace dead-letters list shows them")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class FiledLetter:
    """A letter and what is known about it. Its value was not kept: `LetterBox.fetch` has it."""

    address: Address
    letter: DeadLetter
    copies: tuple[Address, ...] = ()
    """Where other processes filed the same record."""
    resolution: Resolution | None = None
    """What became of it; None: it is open."""
    key: bytes | None = None
    """The key of its record."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address under which it may be called."""
        return (self.address, *self.copies)


Wanted = Callable[[DeadLetter], bool]


class LetterBox:
    """The topic ``dead-letters``, read from its beginning. A context manager.

    Raises:
        TopicMismatch: there is no such topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic_names.dead_letters
        self._reader = TopicReader(settings, "letters")
        try:
            self._partitions = self._reader.partitions(self._topic)
        except BaseException:
            self._reader.close()
            raise

    def read(self, wanted: Wanted) -> list[FiledLetter]:
        """Return the letters that are wanted, the newest last; several about one record are one.

        Raises:
            DependencyUnavailable: Kafka does not answer, or the end was not reached in time.
        """
        places = {(self._topic, partition): OFFSET_BEGINNING for partition in range(self._partitions)}
        filing = Filing(wanted)
        for message in scan(self._reader, places, keep=lambda _key: True, timeout_s=READ_TIMEOUT_S):
            filing.add(message)
        return filing.letters()

    def fetch(self, addresses: Sequence[Address], timeout_s: float = 60.0) -> dict[Address, DeadLetter]:
        """Return letters with their values, which may be a megabyte each: `CHUNK` at a time.

        Raises:
            ConfigError: no letter lies at one of the addresses (any more).
            DependencyUnavailable: Kafka does not answer.
        """
        places = {(self._topic, each.partition): each.offset for each in sorted(addresses, reverse=True)}
        wanted, found = set(addresses), dict[Address, DeadLetter]()
        for message in scan(self._reader, places, keep=lambda _key: True, timeout_s=timeout_s):
            address = Address(message.partition(), message.offset())
            if address in wanted and isinstance(letter := read_record(message), DeadLetter):
                found[address] = letter
            if len(found) == len(wanted):
                break
        if missing := wanted - found.keys():
            listed = ", ".join(map(str, sorted(missing)))
            raise ConfigError(f"no dead letter {listed}", "it may have expired: headrace dead-letters list")
        return found

    def close(self) -> None:
        """Stop reading."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Found:
    address: Address
    letter: DeadLetter
    key: bytes | None


class Filing:
    """Puts letters and resolutions together as they come. Keeps what is wanted, without values.

    Args:
        wanted: whether a letter is looked for.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._letters: dict[Hashable, list[_Found]] = {}
        self._resolved: dict[Hashable, Resolution] = {}

    def add(self, message: Any) -> None:
        """Take a record of ``dead-letters``; one that cannot be read itself is passed over."""
        address = Address(message.partition(), message.offset())
        match read_record(message):
            case Resolution() as resolution:
                self._resolved[_record(resolution.origin, resolution.letter)] = resolution
            case DeadLetter() as letter if self._wanted(letter):
                light = letter.model_copy(update={"value_base64": None})
                found = _Found(address, light, message.key())
                self._letters.setdefault(_record(letter.origin, str(address)), []).append(found)
            case _:
                pass

    def letters(self) -> list[FiledLetter]:
        """Return one letter for each record, the newest last."""
        filed = []
        for record, found in self._letters.items():
            first, *others = sorted(found, key=lambda one: (one.letter.at_ms, one.address))
            copies = tuple(other.address for other in others)
            filed.append(FiledLetter(first.address, first.letter, copies, self._resolved.get(record), first.key))
        return sorted(filed, key=lambda one: (one.letter.at_ms, one.address))


def _record(origin: Origin, letter: str) -> Hashable:
    """Return what tells records apart: where they lay, or the letter itself where no record brought it about."""
    return letter if origin.offset < 0 else (origin.topic, origin.partition, origin.offset)


def read_record(message: Any) -> DeadLetter | Resolution | None:
    """Return the letter or the resolution that a record is, or None where it is neither."""
    headers = header_map(headers_of(message))
    try:
        if headers.get(SCHEMA_HEADER) == "resolution":
            return decode(Resolution, message.value(), headers)
        return decode(DeadLetter, message.value(), headers)
    except ContractError:
        return None


def named(filed: Sequence[FiledLetter], addresses: Sequence[Address]) -> list[FiledLetter]:
    """Return the letters that are called by address, each once, the newest last.

    Raises:
        ConfigError: one of the addresses is no letter's.
    """
    by_address = {address: one for one in filed for address in one.addresses}
    missing = [str(address) for address in addresses if address not in by_address]
    if missing:
        raise ConfigError(f"no dead letter {', '.join(missing)}", "headrace dead-letters list shows those there are")
    chosen = {by_address[address].address for address in addresses}
    return [one for one in filed if one.address in chosen]


Fetch = Callable[[Sequence[Address]], dict[Address, DeadLetter]]


def fetched(letters: Sequence[FiledLetter], fetch: Fetch) -> Iterator[tuple[FiledLetter, DeadLetter]]:
    """Yield letters with their values, in their order, without holding many of them.

    Args:
        fetch: `LetterBox.fetch`.

    Raises:
        ConfigError: one is not there any more.
        DependencyUnavailable: Kafka does not answer.
    """
    for start in range(0, len(letters), CHUNK):
        chunk = letters[start : start + CHUNK]
        found = fetch([filed.address for filed in chunk])
        yield from ((filed, found.pop(filed.address)) for filed in chunk)

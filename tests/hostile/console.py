"""The console over hostile letters: everything that it does with one, but for sending it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from headrace.console.letter_edit import NO_EDIT, Edit
from headrace.console.letter_filter import LetterFilter
from headrace.console.letter_view import everything, one_line, plain
from headrace.console.letters import FiledLetter, Filing, read_record
from headrace.console.redrive import Redriver
from headrace.schemas.errors import HeadraceError
from headrace.schemas.messages import DeadLetter
from headrace.schemas.pools import Endpoint, Pool, PoolsFile
from headrace.schemas.topics import Topics
from tests.hostile.bad import Bad
from tests.hostile.messages import CorpusMessage

TOPICS = Topics("t")
PARTITIONS = 3
POOLS = PoolsFile(endpoints={"here": Endpoint(adapter="noop")}, pools={"noop": Pool(endpoint="here")})
EDITS = (NO_EDIT, Edit(sets=(("job_id", "h-new"),)), Edit(value=b'{"workflow":"one"}'))
COMMANDS = {chr(code) for code in (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))} | {"\u202e"}
"""Characters that a terminal acts upon."""


@dataclass(slots=True)
class Seen:
    """What the console makes of one record of `dead-letters`."""

    filed: list[FiledLetter]
    sent: int = 0
    """How many of the redrives would be sent."""


def look_at(bad: Bad) -> Seen:
    """File a record, and where it is a letter show it in every way and make what each redrive would send."""
    message = CorpusMessage(bad, topic=TOPICS.dead_letters)
    filing = Filing(LetterFilter(prefix="t"))
    filing.add(message)
    seen = Seen(filing.letters())
    letter = read_record(message)
    for filed in seen.filed:
        assert isinstance(letter, DeadLetter)
        _show(filed, letter)
        LetterFilter(topic="jobs", workflow="one", since_ms=0, until_ms=9, prefix="t")(letter)
        seen.sent += sum(_sends(redriver, letter) for redriver in _redrivers())
    return seen


def _show(filed: FiledLetter, letter: DeadLetter) -> None:
    for text in (one_line(filed), everything(filed, letter)):
        assert not COMMANDS & set(text)
        text.encode()
    json.dumps(plain(filed, letter))


def _redrivers() -> list[Redriver]:
    return [
        Redriver(TOPICS, PARTITIONS, POOLS, pool=pool, edit=edit, force=force)
        for edit in EDITS
        for pool in (None, "noop")
        for force in (False, True)
    ]


def _sends(redriver: Redriver, letter: DeadLetter) -> bool:
    try:
        record = redriver.record(letter).record
    except HeadraceError:
        return False
    assert record.partition is None or record.partition in range(PARTITIONS)
    assert record.topic in (TOPICS.jobs, TOPICS.results, TOPICS.control) or TOPICS.task_topic(record.topic)
    assert len(record.topic) <= 249, "Kafka has no longer names"
    for name, value in record.headers:
        name.encode()
        assert isinstance(value, bytes)
    return True

"""Letters as they are filed, filtered and shown, and what a resolver does with them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from headrace.console.commands.dead_letters import rate_of
from headrace.console.letter_edit import Edit, in_editor
from headrace.console.letter_filter import LetterFilter, moment_ms
from headrace.console.letter_view import everything, harmless, one_line, plain
from headrace.console.letters import Address, Filing, named
from headrace.console.redrive import Redriver
from headrace.console.resolver import Resolver
from headrace.runtime.letters import Source, dead_letter, letter_record
from headrace.schemas.codec import Record, decode, encode, schema_headers
from headrace.schemas.errors import ConfigError, ContractError, DependencyUnavailable
from headrace.schemas.messages import DeadLetter, Origin, Resolution
from headrace.schemas.pools import PoolsFile
from headrace.schemas.topics import Topics

TOPICS = Topics("t")


class Message:
    """A record of dead-letters, as a consumer has it."""

    def __init__(self, record: Record, partition: int, offset: int) -> None:
        self._record, self._partition, self._offset = record, partition, offset

    def key(self):
        return self._record.key

    def value(self):
        return self._record.value

    def headers(self):
        return self._record.headers

    def partition(self):
        return self._partition

    def offset(self):
        return self._offset


def letter(topic=TOPICS.jobs, partition=0, offset=1, *, key=b"j1", value=b"{broken", headers=(), **fields):
    wanted = {"reason": "invalid_json", "message": "m", "at_ms": 10, "by": "me", **fields}
    return dead_letter(Source(topic, partition, offset, key, value, tuple(headers)), **wanted)


def resolution(origin, **fields) -> Record:
    made = Resolution(**{"origin": origin, "action": "dropped", "at_ms": 99, "by": "you", **fields})
    return Record("dead", b"j1", encode(made), headers=schema_headers(Resolution))


class Box:
    """A topic dead-letters in a list."""

    def __init__(self, *records) -> None:
        self.records = [letter_record(one, "dead") if not isinstance(one, Record) else one for one in records]

    def read(self, wanted=lambda _: True):
        filing = Filing(wanted)
        for offset, record in enumerate(self.records):
            filing.add(Message(record, 0, offset))
        return filing.letters()

    def fetch(self, addresses):
        return {one: decode(DeadLetter, self.records[one.offset].value) for one in addresses}


# ── Filing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_letters_about_one_record_are_one_and_the_first_counts():
    later, first = letter(at_ms=30, by="w-2"), letter(at_ms=20, by="w-1")
    (filed,) = Box(later, first).read()
    assert (filed.address, filed.copies, filed.letter.by) == (Address(0, 1), (Address(0, 0),), "w-1")
    assert filed.letter.value_base64 is None, "values are fetched when they are needed"


def test_the_newest_is_last_and_what_is_unreadable_itself_is_passed_over():
    garbage = [Record("dead", None, value) for value in (None, b"\xff", b"[]", b"{}", b'{"reason": 3}')]
    box = Box(letter(offset=2, at_ms=30), *garbage, letter(offset=1, at_ms=20))
    assert [filed.letter.at_ms for filed in box.read()] == [20, 30]


def test_a_resolution_answers_every_copy_also_one_that_comes_later():
    origin = Origin(topic=TOPICS.jobs, partition=0, offset=1)
    (filed,) = Box(letter(), resolution(origin), letter(by="late")).read()
    assert filed.resolution is not None
    assert filed.resolution.action == "dropped"


def test_letters_that_no_record_brought_about_are_told_apart_by_themselves():
    lost = {"topic": "t.tasks.small.batch", "partition": -1, "offset": -1}
    box = Box(letter(**lost), letter(**lost), resolution(Origin(**lost), letter="0:0"))
    assert [(str(filed.address), filed.resolution is None) for filed in box.read()] == [("0:0", False), ("0:1", True)]


def test_letters_are_called_by_any_of_their_addresses_and_unknown_ones_are_named():
    filed = Box(letter(at_ms=20), letter(at_ms=30), letter(offset=5)).read()
    assert [str(one.address) for one in named(filed, [Address(0, 1), Address(0, 0)])] == ["0:0"]
    with pytest.raises(ConfigError, match="7:7"):
        named(filed, [Address(0, 0), Address(7, 7)])
    for wrong in ("", "1", "1:", ":1", "-1:2", "1:2:3", "1:" + "9" * 5_000, "²:1"):
        with pytest.raises(ConfigError):
            Address.parse(wrong)


# ── Filters ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({}, True),
        ({"reason": "invalid_json"}, True),
        ({"reason": "exhausted"}, False),
        ({"pool": "small"}, True),
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"workflow": "sum"}, True),
        ({"workflow": "sum@2"}, True),
        ({"workflow": "sum@1"}, False),
        ({"workflow": "su"}, False),
        ({"job": "j1"}, True),
        ({"job": "j2"}, False),
        ({"topic": "jobs"}, True),
        ({"topic": "t.jobs"}, True),
        ({"topic": "results"}, False),
        ({"since_ms": 10}, True),
        ({"since_ms": 11}, False),
        ({"until_ms": 11}, True),
        ({"until_ms": 10}, False),
    ],
)
def test_a_filter_lets_pass_what_it_says(fields, passes):
    value = b'{"job_id": "j1", "workflow": "sum@2", "pool": "small", "tenant": "acme"}'
    assert LetterFilter(prefix="t", **fields)(letter(value=value)) is passes
    assert LetterFilter(prefix="t", **fields).is_empty is (not fields)


def test_moments_are_absolute_or_so_long_ago():
    assert moment_ms("1970-01-01T00:00:01Z", 0) == 1_000
    assert moment_ms("1970-01-01T01:00:01+01:00", 0) == 1_000
    assert [moment_ms(text, 86_400_000) for text in ("0s", "30s", "90m", "6h", "1d")] == [
        86_400_000, 86_370_000, 81_000_000, 64_800_000, 0,
    ]  # fmt: skip
    for wrong in ("", "yesterday", "1970-01-01", "2026-01-01T00:00:00", "5w", "-1h", "²h", "9" * 400 + "s"):
        with pytest.raises(ConfigError):
            moment_ms(wrong, 0)


def test_rates_are_read_with_their_unit():
    assert [rate_of(text) for text in ("10", "10/s", "30/m", "0.5")] == [10, 10, 0.5, 0.5]
    for wrong in ("0", "-1", "fast", "10/d", "", "1e9", "nan"):
        with pytest.raises(ConfigError):
            rate_of(wrong)


# ── What people see ──────────────────────────────────────────────────────────────────────────────────────────────

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"


def test_what_others_wrote_commands_no_terminal():
    hostile = letter(
        message=ESCAPES, value=ESCAPES.encode(), key=ESCAPES.encode(), headers=[(ESCAPES, ESCAPES.encode())],
        errors=[ESCAPES], topic=ESCAPES, by=ESCAPES, reason=ESCAPES,
    )  # fmt: skip
    (filed,) = Box(hostile).read()
    for text in (one_line(filed), everything(filed, hostile)):
        assert not set(text) & set("\x1b\x07\x9b\u202e\r")
        assert "\\x1b" in text
    assert harmless("a\tb\nc é 漢 🙂") == "a\tb\nc é 漢 🙂"


def test_everything_shows_causes_attempts_key_headers_value_and_what_became_of_it():
    one = letter(value=b'{"a":[1,2]}', headers=[("h", b"\xff\x00")], errors=["outer", "inner"])
    origin = Origin(topic=TOPICS.jobs, partition=0, offset=1)
    (filed,) = Box(one, resolution(origin, action="redriven", to="t.jobs[1]@4")).read()
    text = everything(filed, one)
    for part in ("0:0", "invalid_json", "cause     outer", "cause     inner", "t.jobs[0]@1", "key       j1",
                 "header    h: 0xff00", "11 bytes", '  "a": [', "redriven to t.jobs[1]@4"):  # fmt: skip
        assert part in text, part


def test_a_cut_value_and_a_tombstone_say_so():
    big = letter(value=b"v" * 900_000)
    (filed,) = Box(big).read()
    assert "900,000 bytes, of which" in everything(filed, big)
    gone = letter(value=None)
    assert "tombstone" in everything(filed, gone)


def test_the_json_of_a_letter_has_its_id_and_every_field():
    one = letter()
    (filed,) = Box(one).read()
    found = plain(filed, one)
    assert (found["id"], found["copies"], found["resolution"]) == ("0:0", [], None)
    assert found["value_base64"] == one.value_base64
    json.dumps(found)


def test_a_moment_that_is_none_is_shown_as_a_number():
    strange = letter().model_copy(update={"at_ms": 10**300})
    (filed,) = Box(strange).read()
    assert "@1000000" in one_line(filed)


# ── The editor ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_editor_of_the_environment_changes_the_text(tmp_path, monkeypatch):
    script = tmp_path / "ed it"
    script.write_text('#!/bin/sh\nsed -i s/old/new/ "$2"\n')
    script.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{script}' -w")
    assert in_editor("old text") == "new text"
    script.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ConfigError, match="ended with 3"):
        in_editor("old")
    script.write_text('#!/bin/sh\n: > "$2"\n')
    with pytest.raises(ConfigError, match="left nothing"):
        in_editor("old")
    monkeypatch.setenv("EDITOR", "/no/such/editor")
    with pytest.raises(ConfigError, match="cannot be started"):
        in_editor("old")
    monkeypatch.delenv("EDITOR")
    with pytest.raises(ConfigError, match="needs an editor"):
        in_editor("old")


# ── The resolver ─────────────────────────────────────────────────────────────────────────────────────────────────


class Session:
    """Notes what is written; a topic that ends in `small` takes nothing."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.notes: list[Resolution] = []
        self.records: list[Record] = []

    def send(self, record, note):
        if record.key == b"down":
            raise DependencyUnavailable("no Kafka")
        if record.key == b"large":
            raise ContractError("too large")
        self.sent.append(record)
        self.note([note("t.jobs[1]@4")])
        return "t.jobs[1]@4"

    def note(self, records: Sequence[Record]) -> None:
        self.records += records
        self.notes += [decode(Resolution, record.value) for record in records]


def resolver(box, states=None, **fields) -> Resolver:
    known = states or {}
    return Resolver(
        "dead", "op@host", box.fetch, lambda ids: {one: known[one] for one in ids if one in known},
        now_ms=lambda: 77, **fields,
    )  # fmt: skip


def redrive(box, states=None, *, session=None, edit=None, **fields):
    redriver = Redriver(TOPICS, 12, PoolsFile(), edit=edit or Edit())
    made = resolver(box, states, **fields)
    return list(made.redrive(box.read(), redriver, session, made={}, per_second=1_000))


def test_a_redrive_is_sent_with_its_note_on_the_letters_own_partition():
    box, session = Box(letter()), Session()
    (verdict,) = redrive(box, session=session)
    assert (verdict.action, verdict.to) == ("redriven", "t.jobs[1]@4")
    (note,) = session.notes
    assert (note.action, note.to, note.by, note.at_ms, note.letter) == ("redriven", "t.jobs[1]@4", "op@host", 77, "0:0")
    assert note.origin == Origin(topic=TOPICS.jobs, partition=0, offset=1)
    assert (session.records[0].key, session.records[0].partition) == (b"j1", 0)


def test_a_dry_run_says_what_would_be_sent_and_changes_nothing():
    (verdict,) = redrive(Box(letter()))
    assert verdict.action == "would_send"
    assert verdict.record is not None
    assert verdict.record.value == b"{broken"


@pytest.mark.parametrize(
    ("states", "fields", "says"),
    [({"j1": "succeeded"}, {}, "outcome stands"), ({"j1": "failed"}, {"force": True, "again": True}, "outcome stands")],
)
def test_a_job_that_is_over_keeps_its_outcome_whatever_is_forced(states, fields, says):
    session = Session()
    (verdict,) = redrive(Box(letter()), states, session=session, **fields)
    assert (verdict.action, session.sent) == ("refused", [])
    assert says in verdict.reason
    assert "another id" in verdict.hint


def test_a_result_for_a_job_that_nobody_knows_is_sent_only_by_force():
    session = Session()
    box = Box(letter(topic=TOPICS.results))
    assert redrive(box, session=session)[0].action == "refused"
    assert redrive(box, session=session, force=True)[0].action == "redriven"
    assert redrive(box, {"j1": "running"}, session=session)[0].action == "redriven"


def test_a_letter_that_was_resolved_is_not_taken_again():
    origin = Origin(topic=TOPICS.jobs, partition=0, offset=1)
    box, session = Box(letter(), resolution(origin)), Session()
    (verdict,) = redrive(box, session=session)
    assert verdict.action == "refused"
    assert "was dropped before, by you" in verdict.reason
    assert [one.action for one in resolver(box).drop(box.read(), session)] == ["refused"]
    assert session.records == []
    assert redrive(box, session=session, again=True)[0].action == "redriven"


def test_one_that_the_topic_does_not_take_stops_no_other_and_a_kafka_that_is_gone_stops_all():
    box = Box(letter(offset=1, key=b"large"), letter(offset=2, at_ms=11), letter(offset=3, key=b"down", at_ms=12))
    session, redriver = Session(), Redriver(TOPICS, 12, PoolsFile())
    verdicts = resolver(box).redrive(box.read(), redriver, session, made={}, per_second=1_000)
    assert [next(verdicts).action, next(verdicts).action] == ["refused", "redriven"]
    with pytest.raises(DependencyUnavailable):
        next(verdicts)


def test_a_broken_change_keeps_every_letter_here():
    box = Box(letter(offset=1, value=b'{"workflow":"w"}'), letter(offset=2, value=b"{broken"))
    edit = Edit(sets=(("priority", 1_000),))
    with pytest.raises(ConfigError) as caught:
        resolver(box).check(box.read()[:1], Redriver(TOPICS, 12, PoolsFile(), edit=edit))
    assert "0:0: priority" in caught.value.message


def test_letters_are_dropped_in_few_transactions():
    box, session = Box(*(letter(offset=number) for number in range(700))), Session()
    verdicts = list(resolver(box).drop(box.read(), session))
    assert {verdict.action for verdict in verdicts} == {"dropped"}
    assert len(session.notes) == 700
    assert [one.action for one in resolver(box).drop(box.read()[:1], None)] == ["would_drop"]

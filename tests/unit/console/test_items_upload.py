"""Items on their way into the store: cut at lines, checked before anything is submitted, and never sent twice."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.console import item_parts
from headrace.console.commands.objects import age_of, check_age
from headrace.console.commands.submit import given_text
from headrace.console.input_size import travelling
from headrace.console.item_parts import BadLines, cut, lines_of, part_bytes_for
from headrace.console.item_upload import upload_items
from headrace.orchestrator.core.parts import Lines
from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ConfigError, ContractError
from headrace.schemas.messages import Submission


@pytest.fixture
def store(tmp_path):
    return open_objects(Settings(data_dir=tmp_path))


def numbered(*lines):
    return list(enumerate(lines, 1))


items = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5), st.lists, max_leaves=5)


@settings(deadline=None)
@given(st.lists(items, min_size=1, max_size=60), st.integers(1, 60))
def test_parts_joined_are_the_lines_and_no_part_is_larger_than_asked_but_for_a_lone_line(values, part_bytes):
    lines = [json.dumps(value).encode() for value in values]
    parts = list(cut(numbered(*lines), "test", part_bytes=part_bytes))
    assert b"".join(part.data for part in parts) == b"".join(line + b"\n" for line in lines)
    assert sum(part.items for part in parts) == len(lines)
    for part in parts:
        assert len(Lines(part.data)) == part.items
        assert len(part.data) <= part_bytes or part.items == 1


def test_empty_lines_a_byte_order_mark_and_line_ends_of_other_systems_are_no_items():
    stream = io.BytesIO(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n[2]  \n"three"')
    assert list(lines_of(stream, "f")) == [(1, b'{"a": 1}'), (4, b"[2]"), (5, b'"three"')]


def test_the_first_ten_bad_lines_are_named_with_their_numbers_and_nothing_follows_them():
    lines = [b"1", b"2", *([b"{", b'"\xff"', b"NaN"] * 5), b"3"]
    parts = cut(numbered(*lines), "rows.jsonl", part_bytes=1)
    assert next(parts).data == b"1\n"
    with pytest.raises(BadLines) as caught:
        list(parts)
    message = caught.value.message
    assert message.startswith("rows.jsonl: line 3: it is not JSON")
    assert "line 5: it is not JSON: NaN is no JSON number" in message
    assert message.count("line ") - message.count("line 1 column") == 10
    assert message.endswith("and perhaps more")
    assert caught.value.exit_code == 2


def test_a_line_that_never_ends_is_refused_without_reading_it_all(monkeypatch):
    monkeypatch.setattr(item_parts, "MAX_LINE_BYTES", 100)
    stream = io.BytesIO(b"1\n" + b"x" * 10_000)
    with pytest.raises(BadLines, match="line 2 has more than 100 bytes"):
        list(lines_of(stream, "f"))
    assert stream.tell() <= 200


def test_no_items_and_too_many_are_refused(monkeypatch, store):
    with pytest.raises(ConfigError, match="has no items"):
        upload_items(store, [])
    monkeypatch.setattr(item_parts, "MAX_ITEMS", 3)
    with pytest.raises(ConfigError, match="more than 3 items"):
        upload_items(store, range(4))


def test_values_and_a_file_of_the_same_lines_give_the_same_reference(store, tmp_path):
    values = [{"n": number, "text": "ä" * 10} for number in range(500)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) + "\n" for v in values))
    ref = upload_items(store, path, part_bytes=2_000)
    assert (
        ref == upload_items(store, str(path), part_bytes=2_000) == upload_items(store, iter(values), part_bytes=2_000)
    )
    assert ref.total == 500
    assert len(ref.parts) > 5
    read = b"".join(store.get(part.ref) for part in ref.parts)
    assert [json.loads(line) for line in read.splitlines()] == values


def test_standard_input_is_read_as_it_comes(store, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1\n2\n3\n")))
    assert upload_items(store, "-").total == 3


def test_an_upload_that_was_interrupted_sends_only_what_is_missing(store, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'"{"x" * 1_000}{number}"\n' for number in range(1_000)))
    seen = []

    class Enough(Exception):
        pass

    def interrupt(progress):
        seen.append(progress.parts)
        if progress.parts == 3:
            raise Enough

    with pytest.raises(Enough):
        upload_items(store, path, part_bytes=100_000, watch=interrupt)
    there = len(list(store.list_own()))
    assert 3 <= there <= 11
    last = []

    def note(progress):
        last.append((progress.parts, progress.sent))

    ref = upload_items(store, path, part_bytes=100_000, watch=note)
    assert last[-1] == (len(ref.parts), len(ref.parts) - there)
    upload_items(store, path, part_bytes=100_000, watch=note)
    assert last[-1] == (len(ref.parts), 0)


def test_bad_lines_leave_nothing_to_submit(store, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("1\n2\nthree\n4\n")
    with pytest.raises(BadLines, match=r"rows.jsonl: line 3: it is not JSON"):
        upload_items(store, path, part_bytes=1)


def test_a_file_too_large_for_two_thousand_parts_gets_larger_ones(tmp_path):
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as stream:
        stream.truncate(9_000_000_000)
    assert part_bytes_for(path, 1_000_000) == 5_000_000
    with path.open("wb") as stream:
        stream.truncate(200_000_000_000)
    with pytest.raises(ConfigError, match="more than 2,000 parts"):
        part_bytes_for(path, 1_000_000)


def test_a_file_that_is_not_there_is_a_usage_error(store, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        upload_items(store, tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(
    ("file", "given", "workflow", "said"),
    [(None, None, "w", "FILE is missing"), (None, "rows", None, "FILE is missing"), ("-", "-", "w", "standard input")],
)
def test_submit_needs_a_file_or_items_and_a_workflow(file, given, workflow, said):
    with pytest.raises(ConfigError, match=said):
        given_text(file, given, workflow)
    assert given_text(None, "rows", "w") == "{}"


def submission(size, **more):
    return Submission(workflow="w@1", input={"text": "x" * size}, **more)


@pytest.mark.parametrize(("size", "by_reference"), [(262_133, False), (262_134, True), (16_777_205, True)])
def test_an_input_above_the_inline_limit_goes_through_the_store_by_itself(store, size, by_reference):
    given = submission(size)
    sent = travelling(given, lambda: store, inline_bytes=262_144)
    assert (sent.input_ref is not None) is by_reference
    if sent.input_ref is not None:
        assert sent.input == {}
        assert store.get(sent.input_ref) == canonical_json(given.input)


def test_an_input_above_the_largest_of_a_job_is_refused_before_anything_is_stored(store):
    with pytest.raises(ContractError, match="the limit is 16,777,216"):
        travelling(submission(16_777_206), lambda: store, inline_bytes=262_144)
    assert not list(store.list_own())


def test_without_the_extra_an_input_travels_inline_as_long_as_kafka_takes_it():
    def missing():
        raise ConfigError("payloads above objects.inline_bytes need the extra 'objects'")

    assert travelling(submission(500_000), missing, inline_bytes=262_144) == submission(500_000)
    with pytest.raises(ConfigError, match="extra 'objects'"):
        travelling(submission(960_000), missing, inline_bytes=262_144)


def test_a_small_input_beside_a_large_workflow_goes_through_the_store_where_both_do_not_fit(store):
    large = Submission(workflow={"name": "w", "text": "y" * 800_000}, input={"text": "x" * 200_000})
    assert travelling(large, lambda: store, inline_bytes=262_144).input_ref is not None


@pytest.mark.parametrize(("text", "seconds"), [("36d", 36 * 86_400), ("12h", 43_200), ("90m", 5_400), ("7", 7)])
def test_ages_are_days_hours_minutes_or_seconds(text, seconds):
    assert age_of(text, Settings()) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "nan", "1w", "1e99"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(ConfigError, match="is no age"):
        age_of(text, Settings())


def test_an_age_within_the_retention_of_a_topic_is_refused_with_both_numbers():
    check_age(35 * 86_400, Settings())
    with pytest.raises(ConfigError, match=r"--older-than 2,592,000 s \(30 d\) must be above the 2,592,000 s \(30 d\)"):
        check_age(30 * 86_400, Settings())

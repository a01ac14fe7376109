"""The example crm_drafts: end to end, and its reader and writer against records that are not as they should be."""

from __future__ import annotations

import csv
import io
from typing import Any
from xml.etree import ElementTree

import pytest

from headrace.examples.catalogue import find
from headrace.examples.crm_drafts.answers import Answer, write_answers
from headrace.examples.crm_drafts.bridge import job_id_of, main
from headrace.examples.crm_drafts.mapping import CsvSource, Source, load_mapping
from headrace.examples.crm_drafts.records import MAX_DEPTH, MAX_FILE_BYTES, BadFile, Record, read_records
from tests.examples.conftest import Ran

HOME = find(["crm_drafts"])[0].home
MAPPING = load_mapping(HOME / "mapping.yaml")
XML, CSV = MAPPING.sources["cases"], MAPPING.sources["callbacks"]
HEAD = "CASE_NO;NAME;EMAIL;TOPIC;REMARK\r\n"


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_bytes_in_bytes_out_nothing_lost_and_no_change_at_the_crm(ran: Ran) -> None:
    held = {check.what: check.saw for check in ran("crm_drafts").checks}
    assert held["the answers are the expected bytes, drafts and problems"] == "3 files"
    assert held["each record was drafted once, however often it was read"] == "7 calls"
    assert held["nothing changed at the CRM"] == "3 files"


def test_a_record_has_the_fields_that_the_mapping_finds_and_not_those_that_are_empty() -> None:
    (record,) = read_records(
        b"<E><Case Number=' C-1 '><Customer><Name>A <b>B</b></Name><Contact Type='phone'>1</Contact>"
        b"<Contact Type='mail'>a@b</Contact></Customer><Topic> </Topic></Case></E>",
        XML,
    )
    assert record.fields == {"number": "C-1", "customer": "A B", "address": "a@b"}


@pytest.mark.parametrize(
    ("data", "source", "problem"),
    [
        (b"", XML, "not well-formed"),
        (b"<E><Case></E>", XML, "not well-formed"),
        (b"<E>&undefined;</E>", XML, "not well-formed"),
        (b"<?xml version='1.0' encoding='no-such'?><E/>", XML, "not well-formed"),
        (b"<!DOCTYPE E [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><E><Case>&a;</Case></E>", XML, "DTD"),
        (b"<!DOCTYPE E SYSTEM 'http://127.0.0.1:1/x.dtd'><E/>", XML, "DTD"),
        (b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), XML, "deeper"),
        (b"<E>" + b"<Case/>" * 10_001 + b"</E>", XML, "more than 10,000 records"),
        (b" " * (MAX_FILE_BYTES + 1), XML, "larger than"),
        (b"", CSV, "no row of heads"),
        (b"NAME;EMAIL\r\n", CSV, "no column CASE_NO, TOPIC, REMARK"),
        (HEAD.encode() + b'1;"open', CSV, "cannot be read"),
        (HEAD.encode() + b"\x81", CSV, "cannot be read"),
        (HEAD.encode() + b"1;" + b"x" * 200_000, CSV, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named_and_answered_in_its_format(
    data: bytes, source: Source, problem: str
) -> None:
    with pytest.raises(BadFile, match=problem):
        read_records(data, source)
    answer = write_answers([Answer(Record(0), problem=problem)], source)
    assert problem.encode() in answer


def test_a_row_of_another_length_is_a_problem_of_its_own_and_the_others_are_read() -> None:
    records = read_records((HEAD + "1;A;a@b;T;x\r\n2;B\r\n3;C;c@d;T;y;z\r\n").encode(), CSV)
    assert [one.problem for one in records] == ["", "2 columns in place of 5", "6 columns in place of 5"]


HOSTILE = {"address": "a@b", "subject": "]]></Subject>&\"';=1", "body": 'a\x00b\x1b\ufffe\r\n\u2192;"c"'}


def _answered(source: Source, draft: Any) -> str:
    record = Record(1, {"number": '"><x>'})
    return write_answers([Answer(record, draft=draft)], source).decode(source.answer.encoding)


def test_whatever_a_model_says_the_xml_is_well_formed_and_says_the_same() -> None:
    root = ElementTree.fromstring(_answered(XML, HOSTILE).encode("iso-8859-1"))
    (draft,) = root
    assert draft.get("Case") == '"><x>'
    assert draft.findtext("Subject") == HOSTILE["subject"]
    assert draft.findtext("Body") == 'ab\n\u2192;"c"'


def test_whatever_a_model_says_the_csv_has_its_columns() -> None:
    assert isinstance(CSV, CsvSource)
    text = _answered(CSV, HOSTILE)
    assert text.count("\n") == text.count("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True))
    assert rows[1] == ['"><x>', "OK", "a@b", HOSTILE["subject"], 'ab\r\n?;"c"']


def test_a_records_job_is_the_same_wherever_it_stands_and_another_where_it_changed() -> None:
    fields = {"number": "1", "message": "x"}
    first = job_id_of("w", "cases", Record(1, fields))
    assert job_id_of("w", "cases", Record(9, fields)) == first
    assert job_id_of("w", "cases", Record(1, {**fields, "message": "y"})) != first
    assert job_id_of("w", "callbacks", Record(1, fields)) != first


@pytest.mark.parametrize("arguments", [[], ["none.yaml", "cases"], [str(HOME / "mapping.yaml"), "nothing"]])
def test_a_bridge_that_is_called_wrongly_says_so(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) in {2, 3}
    assert capsys.readouterr().err

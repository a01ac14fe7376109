"""The records of a file: read with bounds, never trusted, each with its fields or with what is wrong with it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from headrace.examples.crm_drafts.mapping import CsvSource, Source, XmlSource

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_RECORDS = 10_000
MAX_DEPTH = 64
"""Of elements in each other."""

ATTRIBUTE = re.compile(r"/?@([\w.-]+)$")


class BadFile(ValueError):
    """Nothing of the file can be taken."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    position: int
    """In its file, from 1; 0: the file as a whole."""
    fields: dict[str, str] = field(default_factory=dict)
    """Those that it has."""
    problem: str = ""
    """Why it is no input of a job."""


def read_records(data: bytes, source: Source) -> list[Record]:
    """Return the records of a file, in its order.

    Raises:
        BadFile: it is too large, or not what its format says.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadFile(f"the file is larger than {MAX_FILE_BYTES:,} bytes")
    records = _of_xml(data, source) if isinstance(source, XmlSource) else _of_csv(data, source)
    if len(records) > MAX_RECORDS:
        raise BadFile(f"the file has more than {MAX_RECORDS:,} records")
    return records


def _of_csv(data: bytes, source: CsvSource) -> list[Record]:
    try:
        text = data.decode(source.encoding)
        head, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=source.delimiter, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"it cannot be read: {error}") from None
    except ValueError:
        raise BadFile("it has no row of heads") from None
    if missing := [column for column in source.fields.values() if column not in head]:
        raise BadFile(f"there is no column {', '.join(missing)}")
    return [
        _of_row(number, dict(zip(head, row, strict=False)), row, head, source) for number, row in enumerate(rows, 1)
    ]


def _of_row(number: int, cells: dict[str, str], row: list[str], head: list[str], source: CsvSource) -> Record:
    found = {name: cells[column].strip() for name, column in source.fields.items() if column in cells}
    problem = "" if len(row) == len(head) else f"{len(row)} columns in place of {len(head)}"
    return Record(number, {name: value for name, value in found.items() if value}, problem)


def _of_xml(data: bytes, source: XmlSource) -> list[Record]:
    elements = _root(data).findall(source.records)
    return [Record(number, _fields(element, source.fields)) for number, element in enumerate(elements, 1)]


def _fields(element: Element, paths: dict[str, str]) -> dict[str, str]:
    found = {name: _at(element, path).strip() for name, path in paths.items()}
    return {name: value for name, value in found.items() if value}


def _at(element: Element, path: str) -> str:
    """Return the text at a path, empty where there is none."""
    attribute = ATTRIBUTE.search(path)
    place = path[: attribute.start()] if attribute else path
    at = element.find(place) if place else element
    if at is None:
        return ""
    return at.get(attribute[1], "") if attribute else "".join(at.itertext())


def _root(data: bytes) -> Element:
    """Parse without DTD, hence without entities of its own: none can expand, none can name a file."""
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise BadFile(f"elements lie deeper in each other than {MAX_DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise BadFile("a document type (DTD) is not allowed")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ParseError, ValueError, LookupError) as error:
        raise error if isinstance(error, BadFile) else BadFile(f"it is not well-formed: {error}") from None

"""The answers to a file's records, as bytes in the foreign system's own format."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import ChainableUndefined, Environment
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headrace.examples.crm_drafts.mapping import CsvSource, Source, XmlSource
from headrace.examples.crm_drafts.records import Record

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What XML cannot say at all; models may."""
ESCAPED, PLAIN = (
    ImmutableSandboxedEnvironment(autoescape=escape, undefined=ChainableUndefined, keep_trailing_newline=True)
    for escape in (True, False)
)
"""A field that a record does not have is empty."""


class Answer(NamedTuple):
    """What came of a record."""

    record: Record
    draft: Any = None
    """The job's output; None: there is none."""
    problem: str = ""


def write_answers(answers: Sequence[Answer], source: Source) -> bytes:
    """Return the answers in order; what the encoding does not have becomes a reference in XML, else ``?``."""
    if isinstance(source, XmlSource):
        text, errors = _as_xml(answers, source), "xmlcharrefreplace"
    else:
        text, errors = _as_csv(answers, source), "replace"
    lines = text.replace("\r\n", "\n").replace("\n", source.answer.newline)
    return lines.encode(source.answer.encoding, errors)


def _as_xml(answers: Sequence[Answer], source: XmlSource) -> str:
    form = source.answer
    one = (_filled(ESCAPED, form.problem if answer.problem else form.draft, answer) for answer in answers)
    return form.begin + "".join(one) + form.end


def _as_csv(answers: Sequence[Answer], source: CsvSource) -> str:
    form, text = source.answer, io.StringIO(newline="")
    writer = csv.writer(text, delimiter=source.delimiter, lineterminator="\n")
    writer.writerow(form.head)
    for answer in answers:
        columns = form.problem if answer.problem else form.draft
        writer.writerow([_filled(PLAIN, column, answer) for column in columns])
    return text.getvalue()


def _filled(environment: Environment, template: str, answer: Answer) -> str:
    record = answer.record
    text = environment.from_string(template).render(
        record=record.fields, position=record.position, draft=answer.draft, problem=answer.problem
    )
    return CONTROLS.sub("", text)

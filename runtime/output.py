"""What an answer is worth: whether it is what the step asked for. Pure.

Workers judge with this what providers answer, and ``headrace workflow test`` what a script answers: so a test cannot
pass on an answer that a worker would refuse.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple, Never

import jsonschema_rs

from headrace.schemas.calls import MAX_WRONG_ANSWER
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import Failure
from headrace.schemas.schema_cost import TooCostly, check_references, evaluations, first_findings

MAX_MESSAGE = 300
MAX_CACHED = 256


class SchemaInvalid(ValueError):
    """The output schema itself cannot be used."""


class OutputMismatch(ValueError):
    """The answer does not hold the schema; the message says where, bounded."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A schema that holds."""

    validator: Any
    text: bytes


class OutputSchemas:
    """Compiled output schemas: a fan-out sends the same one thousands of times."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, _Checked] = OrderedDict()

    def parse(self, text: str, schema: dict[str, Any]) -> Any:
        """Return the answer as JSON.

        Raises:
            OutputMismatch: not JSON, or not what the schema asks for.
            SchemaInvalid: the schema is none, or refers to something outside itself.
        """
        checked = self._checked(schema)
        try:
            # NaN and Infinity are no JSON, and would break every reader of the result.
            value = json.loads(unfenced(text), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise OutputMismatch(f"the answer is not JSON: {str(error)[:MAX_MESSAGE]}") from None
        try:
            count = evaluations(schema, value)
        except TooCostly as error:
            raise SchemaInvalid(f"the output schema cannot be used: {error}") from None
        if not checked.validator.is_valid(value):
            raise _mismatch(checked, value, count)
        return value

    def _checked(self, schema: dict[str, Any]) -> _Checked:
        key = canonical_json(schema)
        if (found := self._compiled.get(key)) is not None:
            self._compiled.move_to_end(key)
            return found
        try:
            check_references(schema)
            validator = jsonschema_rs.validator_for(
                schema,
                retriever=_no_outside,
                # Linear in the text: a schema comes from users, and must not hang a worker.
                pattern_options=jsonschema_rs.RegexOptions(),
            )
            found = _Checked(validator, key)
        except ValueError as error:
            message = str(getattr(error, "message", error))[:MAX_MESSAGE]
            raise SchemaInvalid(f"the output schema cannot be used: {message}") from None
        self._compiled[key] = found
        if len(self._compiled) > MAX_CACHED:
            self._compiled.popitem(last=False)
        return found


class Judgement(NamedTuple):
    """The output that a model's answer makes, or why it makes none."""

    output: Any
    failure: Failure | None = None
    wrong_answer: str = ""
    """The answer itself where another attempt may be shown it, cut."""


def judge(
    text: str, schema: dict[str, Any] | None, schemas: OutputSchemas, *, truncated: bool, refused: bool
) -> Judgement:
    """Judge a model's answer.

    Args:
        text: the answer.
        schema: what it must hold, where the step says so.
        schemas: compiled schemas, kept by the caller.
        truncated: whether it ended at ``max_output_tokens``.
        refused: whether the provider refused the content.
    """
    if refused:
        return Judgement(None, Failure(kind=ErrorKind.CONTENT_FILTERED, message="the provider refused the content"))
    if schema is None:
        return Judgement(text)
    if truncated:
        return Judgement(None, Failure(kind=ErrorKind.TRUNCATED, message="the answer ended at max_output_tokens"))
    try:
        return Judgement(schemas.parse(text, schema))
    except OutputMismatch as mismatch:
        failure = Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=str(mismatch))
        return Judgement(None, failure, text[:MAX_WRONG_ANSWER])
    except SchemaInvalid as invalid:
        return Judgement(None, Failure(kind=ErrorKind.BAD_REQUEST, message=str(invalid)))


def _mismatch(checked: _Checked, value: Any, count: int) -> OutputMismatch:
    """Return where an answer breaks its schema, as far as that is soon found."""
    for found in first_findings(checked.validator, value, text=checked.text, count=count):
        place = "/".join(str(part) for part in found.instance_path)
        return OutputMismatch(f"the answer breaks its schema at /{place}: {str(found.message)[:MAX_MESSAGE]}")
    return OutputMismatch("the answer breaks its schema; where is not listed, since it is large")


def unfenced(text: str) -> str:
    """Return the text without a Markdown fence around all of it, which many models write about their JSON."""
    stripped = text.strip()
    if not (stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped):
        return stripped
    return stripped[stripped.index("\n") + 1 : -3].strip()


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")


def _no_outside(uri: str) -> Never:
    raise ValueError(f"{uri} lies outside the schema")

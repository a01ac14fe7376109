"""Whether an answer is what the step asked for. Pure."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Never

import jsonschema_rs

from headrace.schemas.codec import canonical_json

MAX_MESSAGE = 300
MAX_CACHED = 256


class SchemaInvalid(ValueError):
    """The output schema itself cannot be used."""


class OutputMismatch(ValueError):
    """The answer does not hold the schema; the message says where, bounded."""


class OutputSchemas:
    """Compiled output schemas: a fan-out sends the same one thousands of times."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, Any] = OrderedDict()

    def parse(self, text: str, schema: dict[str, Any]) -> Any:
        """Return the answer as JSON.

        Raises:
            OutputMismatch: not JSON, or not what the schema asks for.
            SchemaInvalid: the schema is none, or refers to something outside itself.
        """
        validator = self._validator(schema)
        try:
            # NaN and Infinity are no JSON, and would break every reader of the result.
            value = json.loads(unfenced(text), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise OutputMismatch(f"the answer is not JSON: {str(error)[:MAX_MESSAGE]}") from None
        for found in validator.iter_errors(value):
            place = "/".join(str(part) for part in found.instance_path)
            raise OutputMismatch(f"the answer breaks its schema at /{place}: {str(found.message)[:MAX_MESSAGE]}")
        return value

    def _validator(self, schema: dict[str, Any]) -> Any:
        key = canonical_json(schema)
        if (found := self._compiled.get(key)) is not None:
            self._compiled.move_to_end(key)
            return found
        try:
            found = jsonschema_rs.validator_for(
                schema,
                retriever=_no_outside,
                # Linear in the text: a schema comes from users, and must not hang a worker.
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except ValueError as error:
            message = str(getattr(error, "message", error))[:MAX_MESSAGE]
            raise SchemaInvalid(f"the output schema cannot be used: {message}") from None
        self._compiled[key] = found
        if len(self._compiled) > MAX_CACHED:
            self._compiled.popitem(last=False)
        return found


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

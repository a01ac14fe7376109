"""Whether a tool's arguments hold its schema. The orchestrator has asked before; a forged task has not. Pure."""

from __future__ import annotations

from typing import Any, Never

import jsonschema_rs

from headrace.schemas.codec import canonical_json
from headrace.schemas.schema_cost import TooCostly, check_references, evaluations, first_findings

MAX_MESSAGE = 300


class ArgumentsInvalid(ValueError):
    """Arguments that do not hold; the message says where, bounded."""


class ArgumentSchema:
    """The compiled schema of one tool's arguments.

    Raises:
        ArgumentsInvalid: the schema is none.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._text = canonical_json(schema)
        try:
            check_references(schema)
            self._validator = jsonschema_rs.validator_for(
                schema,
                retriever=_no_outside,
                pattern_options=jsonschema_rs.RegexOptions(),  # Linear in the text.
            )
        except ValueError as error:
            said = str(getattr(error, "message", error))[:MAX_MESSAGE]
            raise ArgumentsInvalid(f"the schema of the arguments cannot be used: {said}") from None

    def check(self, arguments: dict[str, Any]) -> None:
        """Check arguments.

        Raises:
            ArgumentsInvalid: they do not hold, or to check them would take too long.
        """
        try:
            count = evaluations(self._schema, arguments)
        except TooCostly as error:
            raise ArgumentsInvalid(f"the arguments cannot be checked: {error}") from None
        if self._validator.is_valid(arguments):
            return
        for found in first_findings(self._validator, arguments, text=self._text, count=count):
            place = "/".join(str(part) for part in found.instance_path)
            raise ArgumentsInvalid(f"the arguments break their schema at /{place}: {str(found.message)[:MAX_MESSAGE]}")
        raise ArgumentsInvalid("the arguments break their schema; where is not listed, since it is large")


def _no_outside(uri: str) -> Never:
    raise ValueError(f"{uri} lies outside the schema")

"""One line, one item: the rule that orchestrators and `headrace submit --items` share. Pure."""

from __future__ import annotations

import json
from typing import Any, Never

from headrace.orchestrator.core.json_value import json_problem
from headrace.orchestrator.core.payloads import ItemBroken
from headrace.schemas.errors import ErrorKind


def read_item(line: bytes, *, most: int) -> Any:
    """Return the item of a line: what an orchestrator takes, and what `headrace submit --items` lets through.

    Args:
        line: without its line break.
        most: the most bytes that it may have.

    Raises:
        ItemBroken: it is empty, too long, or not JSON.
    """
    if len(line) > most:
        raise ItemBroken(f"{len(line):,} bytes; the limit is {most:,}", kind=ErrorKind.TOO_LARGE)
    if not line.strip():
        raise ItemBroken("it is empty")
    try:
        item = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        raise ItemBroken("it nests too deeply") from None
    except ValueError as error:
        raise ItemBroken(f"it is not JSON: {str(error)[:100]}") from None
    if found := json_problem(item):
        path, reason = found
        raise ItemBroken(f"{path}: {reason}" if path else reason)
    return item


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")

"""Whether a value can be JSON, and where it cannot. Pure."""

from __future__ import annotations

import math
from typing import Any

MAX_DEPTH = 128
MAX_INT = 2**63
"""What every JSON library reads back as it was written."""


def json_problem(value: Any) -> tuple[str, str] | None:
    """Return the path and the reason of the first part that is not JSON, or None.

    Text must be encodable (no lone surrogates), numbers finite and within 64 bits, keys texts, and nesting bounded:
    what passes here can be hashed, stored and sent.
    """
    stack: list[tuple[Any, str, int]] = [(value, "", 0)]
    while stack:
        entry, path, depth = stack.pop()
        if depth > MAX_DEPTH:
            return path[:200], f"nests deeper than {MAX_DEPTH} levels"
        if isinstance(entry, dict):
            for key, part in entry.items():
                if not isinstance(key, str):
                    return path, f"the key {str(key)[:60]!r} is not a text (quote it)"
                if reason := _text_problem(key):
                    return path, reason
                stack.append((part, f"{path}.{key}" if path else key, depth + 1))
        elif isinstance(entry, list):
            stack.extend((part, f"{path}.{at}" if path else str(at), depth + 1) for at, part in enumerate(entry))
        elif reason := _scalar_problem(entry):
            return path, reason
    return None


def _scalar_problem(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number that is not finite is not JSON"
    if isinstance(value, int):
        return None if -MAX_INT <= value < 2 * MAX_INT else "a whole number above 64 bits"
    return f"a {type(value).__name__} is not JSON (quote it)"


def _text_problem(text: str) -> str | None:
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a text with a lone surrogate is not Unicode"
    return None
